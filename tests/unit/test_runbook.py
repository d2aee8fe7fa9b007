"""Every alert leads to a heading of the runbook, and every heading belongs to an alert."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/operations.md"
RULES = yaml.safe_load((ROOT / "docker/prometheus/rules.yml").read_text(encoding="utf-8"))
ALERTS = {
    rule["alert"]: rule["annotations"]["runbook_url"]
    for group in RULES["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
RUNBOOK = TEXT.partition("\n# Runbook\n")[2]


def test_every_alert_has_its_heading_and_no_heading_is_left_over() -> None:
    assert ALERTS
    assert sorted(re.findall(r"^### (\S+)$", RUNBOOK, re.MULTILINE)) == sorted(ALERTS)


def test_every_link_to_the_runbook_leads_to_the_heading_of_its_alert() -> None:
    for alert, url in ALERTS.items():
        assert url.endswith(f"{PAGE}#{alert.lower()}"), url


def test_every_entry_says_what_it_means_and_what_to_do() -> None:
    for entry in re.split(r"^### ", RUNBOOK, flags=re.MULTILINE)[1:]:
        name, _, rest = entry.partition("\n")
        assert re.match(r"\n\*[^*]{15,}\*", rest), name
        assert "`" in rest, name
