"""The subject itself: config, records, store, panel, network, gate. Pure: no Prefect, no Great Expectations."""
