"""The data contracts of delivered bars, targets and predictions, checked by Great Expectations."""
