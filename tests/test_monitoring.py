"""What is shipped for Prometheus and Grafana, held to the figures that there are, by Debian's promtool."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.driving import staged
from tests.test_metrics import Service, with_all

DEPLOY = Path(__file__).parent.parent / "deploy"
RULES = DEPLOY / "prometheus/sipagent.rules.yml"
DASHBOARDS = [DEPLOY / "grafana/sipagent.json", DEPLOY / "grafana/sipagent.fr.json"]
FOREIGN = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}
"""Figures of Prometheus and of its client."""

# each alert; when it is looked for; a series that makes it fire; its values then, and where it must not fire
FIRED_BY = [
    line.split(maxsplit=2)
    for line in """\
SipagentDown 5m up 0x60 | 1x60
SipagentTrunkNotRegistered 5m sipagent_registered 0x60 | 1x60
SipagentFull 10m sipagent_calls_in_progress 4x60 | 3x60
SipagentLate 5m sipagent_calls_refused_late_total 0+1x60 | 0x60
SipagentPhoneOff 15m sipagent_operator_failures_total{extension="201",problem="silent"} 0+1x60 | 0x60
SipagentLegsLost 5m sipagent_legs_lost_total 0 0 1x60 | 0x60
SipagentWorkerCrashed 5m sipagent_worker_crashes_total 0 0 1x60 | 0x60
SipagentBoardAway 5m sipagent_board_shared 0x60 | 1x60
SipagentBoardUnsteady 30m sipagent_board_losses_total 0+1x60 | 1x60
SipagentForeignSound 15m sipagent_foreign_packets_dropped_total 0+3000x60 | 0+10x60
SipagentLineBad 30m sipagent_line_mos_bucket{le="3.6",leg="caller"} 0+1x60 | 0+0x60
SipagentOneWaySound 5m sipagent_calls_one_way_total 0 0 1x60 | 0x60
SipagentNothingRecorded 5m sipagent_recording_obstacles 1x60 | 0x60
SipagentRecorderFault 5m sipagent_recorder_faults_total{part="tap"} 0 0 1x60 | 0x60
SipagentNotRecorded 5m sipagent_calls_not_recorded{because="disk"} 1x60 | 0x60
SipagentSpeechUnheard 30m sipagent_calls_unheard_total 0+1x60 | 0x60
SipagentSoundLost 15m sipagent_tap_frames_dropped_total 0+50x60 | 0+1x60
SipagentDiskLow 90m sipagent_disk_free_bytes 1e9x120 | 5e10x120
SipagentPurgeOverdue 15m sipagent_recordings_overdue 1x60 | 0x60
SipagentErasurePending 5m sipagent_erasures_pending 1x60 | 0x60
SipagentRemovalPending 5m sipagent_removals_pending 1x60 | 0x60
SipagentObjectStoreAway 5m sipagent_object_store_up 0x60 | 1x60
SipagentUploadsBehind 10m sipagent_uploads_behind_seconds 90x60 | 30x60
SipagentPurgeSuspended 1m sipagent_purge_suspended 1x60 | 0x60
SipagentHoldReviewOverdue 1m sipagent_holds_review_overdue 2x60 | 0x60
SipagentReceiptsWaiting 5m sipagent_receipts_waiting 3x60 | 0x60
SipagentSharedDatabaseAway 5m sipagent_shared_database_up 0x60 | 1x60
SipagentSharedDatabaseUnsteady 30m sipagent_shipping_failures_total 0+1x60 | 0x60
SipagentJournalLate 5m sipagent_journal_lag_seconds 90x60 | 2x60
SipagentJournalFull 5m sipagent_journal_used_ratio 0.6x60 | 0.1x60
SipagentReceiptsLost 5m sipagent_receipts_lost_total 0 0 1x60 | 0x60
SipagentStampFailed 6h sipagent_stamp_failures_total 0+1x400 | 0x400
SipagentEventsBehind 10m sipagent_events_behind_seconds 4000x60 | 60x60
SipagentEventsGivenUp 5m sipagent_events_given_up 1x60 | 0x60
""".splitlines()
]
BESIDE = {  # what else is there
    "SipagentFull": {"sipagent_calls_limit": "4x60"},
    "SipagentLineBad": {'sipagent_line_mos_count{leg="caller"}': "0+4x60"},
    "SipagentJournalLate": {"sipagent_journal_rows_waiting": "5x60"},
}


def promtool(*words: str | Path) -> None:
    ran = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def rules() -> list[tuple[str, str]]:
    """Names and expressions."""
    text = RULES.read_text(encoding="utf-8")
    found = re.findall(r"- alert: (\w+)\n +expr: (>-(?:\n {10}.*)+|.*)", text)
    return [(name, " ".join(expr.removeprefix(">-").split())) for name, expr in found]


def panels(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["panels"]
    return found


def asked(file: Path) -> list[str]:
    """Its expressions, with Grafana's variables filled in."""
    return [
        target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
        for panel in panels(file)
        for target in panel.get("targets", ())
    ]


EXPRESSIONS = [expr for _, expr in rules()] + asked(DASHBOARDS[0])


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all that a service tells."""
    folder = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch, staged(folder, patch, registers=True) as stage:
        service = with_all(Service(stage, folder))
        stage.gone(stage.invite())
        stage.gone(stage.rung()[1], 503)
        return {name for name, _ in service.figures()}


def test_every_figure_that_is_asked_for_exists_and_each_is_watched(figures: set[str]) -> None:
    for expr in EXPRESSIONS:
        named = set(re.findall(r"\b(?:sipagent|process)_\w+|\bup\b", re.sub(r'"[^"]*"', "", expr)))
        assert named and named <= figures | FOREIGN, expr
    text = " ".join(EXPRESSIONS)
    assert not {name for name in figures if name.startswith("sipagent_") and name not in text} - {
        "sipagent_build_info"
    }


@pytest.mark.parametrize("page", ["en/troubleshooting.md", "fr/depannage.md"])
def test_the_pages_name_only_figures_that_there_are(page: str, figures: set[str]) -> None:
    text = (DEPLOY.parent / "docs" / page).read_text(encoding="utf-8")
    told = re.findall(r"\b(sipagent_[a-z_]+)(\*?)", text)
    assert told
    for name, rest in told:
        assert name in figures or (rest and any(one.startswith(name) for one in figures)), name


def test_prometheus_reads_the_example_and_what_the_dashboard_asks(tmp_path: Path) -> None:
    promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")
    asks = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(asked(DASHBOARDS[0]))]
    file = tmp_path / "panels.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": asks}]}), encoding="utf-8")
    promtool("check", "rules", file)


def fires(alert: str, series: dict[str, str], *looked: tuple[str, int]) -> dict[str, Any]:
    """A test of promtool: series a value a minute, and whether the alert fires at these moments."""
    return {
        "interval": "1m",
        "input_series": [{"series": labelled(one), "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": fired}],
            }
            for at, fired in looked
        ],
    }


def test_every_alert_fires_when_it_must_and_only_then(tmp_path: Path) -> None:
    """An agent that has never purged is told two hours after its start."""
    assert [name for name, _ in rules()] == [name for name, *_ in FIRED_BY]
    started = ("process_start_time_seconds", "sipagent_purge_last_success_timestamp_seconds")
    never = fires("SipagentPurgeOverdue", dict.fromkeys(started, "0x300"), ("100m", 0), ("140m", 1))
    tests = [never]
    for name, at, rest in FIRED_BY:
        series, _, values = rest.partition(" ")
        for fired, one in zip((1, 0), values.split(" | "), strict=True):
            tests.append(fires(name, {series: one, **BESIDE.get(name, {})}, (at, fired)))
    file = tmp_path / "alerts.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": tests}), encoding="utf-8")
    promtool("test", "rules", file)


def labelled(series: str) -> str:
    """The series with the labels of a scrape."""
    name, _, labels = series.rstrip("}").partition("{")
    return f'{name}{{job="sipagent",instance="a"{"," if labels else ""}{labels}}}'


def test_every_alert_says_in_both_languages_what_it_is_and_what_to_do() -> None:
    text = RULES.read_text(encoding="utf-8")
    parts = text.split("- alert: ")[1:]
    assert parts
    for part in parts:
        for word in ("summary", "summary_fr", "action", "severity"):
            assert re.search(rf"\b{word}: \S", part), (part.split("\n", 1)[0], word)


def test_both_dashboards_show_the_same() -> None:
    english, french = (
        [{key: panel.get(key) for key in ("id", "type", "gridPos")} for panel in panels(file)]
        for file in DASHBOARDS
    )
    assert english == french
    assert asked(DASHBOARDS[0]) == asked(DASHBOARDS[1])
