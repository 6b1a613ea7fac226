"""Prefect loads flows by file and name, as deployments do, and makes a form of their parameters."""

import pytest
from prefect.flows import load_flow_from_entrypoint


@pytest.mark.parametrize("name", ["retrain", "train", "score", "rollback", "maintenance"])
def test_every_flow_loads_by_its_entrypoint(name, monkeypatch):
    monkeypatch.chdir(__file__.rsplit("/tests/", 1)[0])
    assert load_flow_from_entrypoint(f"flows/{name}.py:{name}").name == name


def test_the_form_of_a_night_shows_help_and_ranges(monkeypatch):
    from flows.retrain import retrain

    schema = retrain.parameters.model_dump()
    floor = schema["definitions"]["GateConfig"]["properties"]["direction_floor"]
    assert floor["maximum"] == 1.0
    assert "interval" in floor["description"]
    assert "last in the store" in schema["properties"]["session"]["description"]
