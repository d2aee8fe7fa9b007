"""Rules, dashboard and documentation follow from the metrics, and the rules do as they should."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from support import monitoring
from support.requirements import missing


def test_written_files_are_those_that_would_be_written() -> None:
    docs = monitoring.DOCS.read_text(encoding="utf-8")

    assert monitoring.DASHBOARD.read_text(encoding="utf-8") == monitoring.dashboard_text()
    assert monitoring.OPERATOR_RULES.read_text(encoding="utf-8") == monitoring.operator_rules()
    assert docs == monitoring.documentation(docs), "PYTHONPATH=tests python -m support.monitoring"


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    alerts = [rule for rule in monitoring.rules() if "alert" in rule]

    assert len(alerts) > 10
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule
        assert rule["annotations"]["summary"], rule
        link = f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == link


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    text = monitoring.RULES.with_name("rules.test.yml").read_text(encoding="utf-8")
    cases = [case for test in yaml.safe_load(text)["tests"] for case in test["alert_rule_test"]]
    alerts = {rule["alert"] for rule in monitoring.rules() if "alert" in rule}

    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        missing("promtool is not installed (Debian: prometheus)")
    assert found is not None
    return found


def test_the_rules_fire_when_they_should_and_not_else(promtool: str) -> None:
    cases = monitoring.RULES.with_name("rules.test.yml")

    done = subprocess.run(
        [promtool, "test", "rules", str(cases)], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_rules_and_dashboard_can_be_parsed(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"r{n}", "expr": query} for n, query in enumerate(monitoring.queries())]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))

    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
