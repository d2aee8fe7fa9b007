"""Makes what follows from the metrics and rules: `PYTHONPATH=tests python -m support.monitoring`.

Writes the dashboard, the rules as an object of Kubernetes and the table of docs/monitoring.md;
tests compare what is there with what would be written.
"""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docker/prometheus/rules.yml"
OPERATOR_RULES = ROOT / "k8s/components/monitoring/rules.yaml"
DASHBOARD = ROOT / "docker/grafana/dashboards/bulkscore.json"
DOCS = ROOT / "docs/monitoring.md"
BEGIN, END = "<!-- metrics: begin -->\n", "<!-- metrics: end -->\n"

# Title, unit, and what is drawn with its legend.
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Rows scored", "rowsps", (("bulkscore:rows_scored:rate5m", "rows/s"),)),
    ("Tokens", "short", (("bulkscore:tokens:rate5m", "tokens/s"),)),
    (
        "Queues",
        "short",
        (
            ("max by (queue) (bulkscore_queue_depth)", "{{queue}}"),
            ("max(bulkscore_chunks_pending)", "pending"),
            ("max(bulkscore_chunks_in_flight)", "in flight"),
        ),
    ),
    (
        "Oldest message",
        "s",
        (("max by (queue) (bulkscore_queue_oldest_seconds)", "{{queue}}"),),
    ),
    (
        "Attempts by outcome",
        "ops",
        (("sum by (outcome) (rate(bulkscore_chunk_attempts_total[5m]))", "{{outcome}}"),),
    ),
    (
        "Dead letters and retries",
        "short",
        (
            ("sum by (code) (bulkscore_dead_letters_total)", "dead {{code}}"),
            ("sum by (code) (bulkscore_chunk_retries_total)", "retried {{code}}"),
        ),
    ),
    (
        "Row errors by code",
        "ops",
        (("sum by (code) (rate(bulkscore_row_errors_total[5m]))", "{{code}}"),),
    ),
    (
        "Chunk time",
        "s",
        (
            (
                "histogram_quantile(0.5, sum by (le) (rate(bulkscore_chunk_seconds_bucket[15m])))",
                "median",
            ),
            (
                "histogram_quantile(0.95, sum by (le) (rate(bulkscore_chunk_seconds_bucket[15m])))",
                "95 %",
            ),
        ),
    ),
    (
        "Time by stage (stages overlap)",
        "percentunit",
        (("sum by (stage) (rate(bulkscore_stage_seconds_total[5m]))", "{{stage}}"),),
    ),
    (
        "Batches: share of tokens that is no padding, and of the budget used",
        "percentunit",
        (
            ("bulkscore:batch_efficiency:rate5m", "no padding"),
            (
                "sum(rate(bulkscore_batch_tokens_total[5m]))"
                " / sum(rate(bulkscore_batch_budget_tokens_total[5m]))",
                "of the budget",
            ),
        ),
    ),
    (
        "Models in memory",
        "short",
        (("count by (model, dtype, device) (bulkscore_model_info == 1)", "{{model}} {{dtype}}"),),
    ),
    (
        "Labels",
        "percentunit",
        (
            (
                "sum by (model, label) (rate(bulkscore_labels_total[1h]))"
                " / on (model) group_left () sum by (model) (rate(bulkscore_labels_total[1h]))",
                "{{model}} {{label}}",
            ),
        ),
    ),
    (
        "Object store by operation and answer",
        "reqps",
        (
            (
                "sum by (operation, status) (rate(bulkscore_s3_requests_total[5m]))",
                "{{operation}} {{status}}",
            ),
            ("sum by (operation) (rate(bulkscore_s3_retries_total[5m]))", "{{operation}} again"),
        ),
    ),
    (
        "GPU memory",
        "bytes",
        (("max by (instance, kind) (bulkscore_device_memory_bytes)", "{{instance}} {{kind}}"),),
    ),
    (
        "Reconciler",
        "s",
        (
            (
                "rate(bulkscore_reconcile_seconds_sum[5m])"
                " / rate(bulkscore_reconcile_seconds_count[5m])",
                "pass",
            ),
            ("time() - max(bulkscore_reconcile_last_pass_timestamp_seconds)", "since the last"),
        ),
    ),
    (
        "Redis memory",
        "bytes",
        (
            ("max(bulkscore_redis_memory_bytes)", "used"),
            ("max(bulkscore_redis_memory_limit_bytes) > 0", "limit"),
        ),
    ),
    (
        "Trouble",
        "short",
        (
            ("sum(increase(bulkscore_leases_expired_total[1h]))", "leases expired"),
            ("sum(increase(bulkscore_child_starts_total[1h]))", "children started"),
            ("sum(increase(bulkscore_oom_steps_total[1h]))", "batches cut for memory"),
        ),
    ),
    ("Jobs by state", "short", (("max by (state) (bulkscore_jobs)", "{{state}}"),)),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels = []
    for number, (title, unit, drawn) in enumerate(PANELS):
        panels.append(
            {
                "id": number + 1,
                "type": "timeseries",
                "title": title,
                "datasource": {"type": "prometheus", "uid": "${source}"},
                "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend}
                    for place, (query, legend) in enumerate(drawn)
                ],
            }
        )
    return {
        "uid": "bulkscore",
        "title": "bulkscore",
        "tags": ["bulkscore"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus"}],
        },
        "panels": panels,
    }


def rules() -> list[dict[str, Any]]:
    """Return every rule."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def operator_rules() -> str:
    """Return the rules as an object of the Prometheus operator."""
    made = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "bulkscore"},
        "spec": yaml.safe_load(RULES.read_text(encoding="utf-8")),
    }
    head = "# Made from docker/prometheus/rules.yml by `python -m support.monitoring`.\n"
    return head + yaml.safe_dump(made, sort_keys=False, width=100)


def queries() -> list[str]:
    """Return every query of rules and dashboard."""
    drawn = [query for _, _, targets in PANELS for query, _ in targets]
    return [*drawn, *(rule["expr"] for rule in rules())]


def metrics_in(query: str) -> set[str]:
    """Return the metrics that a query reads, recorded ones left out."""
    return set(re.findall(r"\bbulkscore_\w+", query))


def metrics_known() -> set[str]:
    """Return the names of all samples that the code can show."""
    ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {f"{name}{end}" for name, kind, _, _ in metrics() for end in ends[kind]}


def metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield name, type, labels and meaning of each metric, by name."""
    for module in ("producer.queue_metrics", "schemas.reconcile_metrics", "worker.metrics"):
        importlib.import_module(module)
    made = {c for c in REGISTRY._collector_to_names if isinstance(c, MetricWrapperBase)}
    for metric in sorted(made, key=lambda m: m._name):
        if metric._name.startswith("bulkscore_"):
            yield metric._name, str(metric._type), metric._labelnames, metric._documentation


def table() -> str:
    """Return the table of metrics for the documentation."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for name, kind, labels, meaning in metrics():
        shown = f"{name}_total" if kind == "counter" else name
        names = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{shown}` | {kind} | {names} | {meaning} |")
    return "\n".join(lines) + "\n"


def documentation(text: str) -> str:
    """Return the documentation with its table as it should be."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def dashboard_text() -> str:
    """Return the dashboard's file."""
    return json.dumps(dashboard(), indent=1) + "\n"


def main() -> None:
    """Write all of it."""
    DASHBOARD.parent.mkdir(parents=True, exist_ok=True)
    DASHBOARD.write_text(dashboard_text(), encoding="utf-8")
    OPERATOR_RULES.write_text(operator_rules(), encoding="utf-8")
    DOCS.write_text(documentation(DOCS.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
