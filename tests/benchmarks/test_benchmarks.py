"""The benchmarks run, and count right: the whole harness against our own server, for a moment, and its arithmetic."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from support.services import COMPILER

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


KINDS = ("echo-100", "pipelined-1", "large-1m", "broadcast", "churn", "deflate", "tls", "memory-2000", "client-64")


@pytest.fixture(scope="module")
def module():
    """Return a function that imports a module of the benchmarks, which are scripts and no package."""
    before = dict(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - set(before):
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def load(module, tmp_path_factory):
    """The load generator, compiled once."""
    return module("load").build(tmp_path_factory.mktemp("load"))


def rounds(*pairs: tuple[float, float]) -> list[dict[str, object]]:
    """Return rounds in which ours and a peer did so many messages in a second."""

    def figures(count: float) -> dict[str, object]:
        return {"messages": count, "seconds": 1.0, "latency": {"p50": count}}

    return [{"ours": figures(ours), "picows+uvloop": figures(theirs)} for ours, theirs in pairs]


# --- the whole of it -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the load generator waits with epoll, which only Linux has")
@pytest.mark.skipif(COMPILER.program is None, reason=COMPILER.reason)
@pytest.mark.parametrize(
    "kinds",
    [("echo-100", "memory-2000"), pytest.param(KINDS, marks=pytest.mark.soak)],
    ids=["two", "all"],
)
def test_every_kind_of_scenario_runs_against_our_server(tmp_path, kinds):
    chosen = [word for kind in kinds for word in ("--scenario", kind)]
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--peer", "ours", "--seconds", "0.05", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--connections", "20", *chosen, "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    record = json.loads((tmp_path / "figures.json").read_text())
    without_tls = [line for line in record["skipped"] if line.startswith("tls: ")]  # where OpenSSL has no headers
    assert record["skipped"] == without_tls
    assert set(record["results"]) == set(kinds) - ({"tls"} if without_tls else set())
    for scenario, (figures,) in ((name, each[0].values()) for name, each in record["results"].items()):
        assert figures.get("messages", 1) > 0, scenario
        assert figures.get("errors", 0) == 0, scenario
    assert record["results"]["memory-2000"][0]["ours"]["kib_after"] > 0
    assert "20 connections" not in done.stdout  # the titles are those of the whole scenario, the command says the rest
    assert "--connections 20" in done.stdout
    assert (tmp_path / "chart.svg").read_text().startswith("<svg")


@pytest.mark.skipif(sys.platform != "linux", reason="the load generator waits with epoll, which only Linux has")
@pytest.mark.skipif(COMPILER.program is None, reason=COMPILER.reason)
def test_the_load_generator_ends_when_the_server_does_not_echo(module, load):
    process = module("process")
    server = """
import socket, trio
from trio_ws import serve_websocket
sock = socket.create_server(("127.0.0.1", 0))
sock.setblocking(False)
print(sock.getsockname()[1], flush=True)
async def wrong(ws):
    async for message in ws:
        await ws.send(message.upper())
trio.run(lambda: serve_websocket(wrong, listeners=[sock]))
"""
    with process.running([sys.executable, "-c", server], None) as where:
        command = [str(load.path), "echo", "--port", str(where.port), "--limit", "20"]
        with pytest.raises(RuntimeError, match="not what was sent"):
            process.finish(command, None, 60)


@pytest.mark.skipif(sys.platform != "linux", reason="the load generator waits with epoll, which only Linux has")
@pytest.mark.skipif(COMPILER.program is None, reason=COMPILER.reason)
def test_a_measurement_lasts_until_there_is_a_message(module, load):
    """However short its time is, and however busy the machine: nothing came back in 0.05 s, at times."""
    with module("process").running([sys.executable, str(BENCHMARKS / "servers" / "ours.py")], None) as where:
        for mode in ("echo", "broadcast", "churn"):
            command = [str(load.path), mode, "--port", str(where.port), "--seconds", "0", "--warmup", "0"]
            if mode == "broadcast":
                command += ["--connections", "3"]
            figures = module("process").finish([*command, "--limit", "60"], None, 70)
            assert figures["messages"] >= 1
            assert figures["seconds"] > 0


# --- what it is made of --------------------------------------------------------------------------------------------


def test_every_name_in_the_tables_is_one_that_is_measured(module):
    peers, targets, chart = module("peers"), module("targets"), module("chart")
    names = {peer.name for peer in peers.PEERS}
    for target in targets.TARGETS:
        assert (target.scenario, target.metric) in targets.METRICS
        assert {target.ours, target.peer or "ours"} <= names
    assert all(headline in targets.METRICS for headline in chart.HEADLINES)
    for peer in peers.PEERS:
        assert peer.server is None or (BENCHMARKS / "servers" / f"{peer.server}.py").exists()
        assert peer.client is None or (BENCHMARKS / "clients" / f"{peer.client}.py").exists()


def test_ratio_is_median_of_rounds_and_above_one_is_better(module):
    """A ratio is the median of the rounds and above one where ours is better."""
    figures, scenarios = module("figures"), module("scenarios")
    measured = rounds((200, 100), (300, 100), (50, 100))
    assert figures.ratio(measured, "ours", "picows+uvloop", scenarios.RATE) == 2.0
    assert figures.ratio(measured, "ours", "picows+uvloop", scenarios.LATENCY) == 0.5
    assert figures.middle(measured, "ours", scenarios.RATE) == 200


def test_a_round_that_failed_does_not_count(module):
    figures, scenarios = module("figures"), module("scenarios")
    measured = [*rounds((200, 100)), {"ours": {"error": "gone"}, "picows+uvloop": {"messages": 1, "seconds": 1.0}}]
    assert figures.ratio(measured, "ours", "picows+uvloop", scenarios.RATE) == 2.0
    assert figures.ratio(measured, "ours", "nobody", scenarios.RATE) is None
    assert figures.middle(measured[1:], "ours", scenarios.RATE) is None


def test_cpu_time_is_per_message_and_omitted_if_not_measured(module):
    """CPU time is given for each message and left out where it was not measured."""
    scenarios = module("scenarios")
    assert scenarios.CPU.of({"messages": 1000, "server_cpu": 0.005}) == pytest.approx(5.0)
    assert scenarios.CPU.of({"messages": 1000}) is None


def test_target_is_a_minimum_ratio_or_a_maximum_figure(module):
    """A target is met by a ratio at least and by a figure at most."""
    targets = module("targets")
    verdict = targets.Verdict(targets.Target("echo-100", "rate", "picows+uvloop", 0.7, 1.0), 0.8)
    assert (verdict.met, verdict.stretch_met) == (True, False)
    verdict = targets.Verdict(targets.Target("memory-2000", "memory", None, 6, 4), 5.0)
    assert (verdict.met, verdict.stretch_met) == (True, False)
    verdict = targets.Verdict(targets.Target("churn", "rate", "picows+uvloop", None, 1.0), None)
    assert (verdict.met, verdict.stretch_met) == (None, None)


def test_targets_are_judged_from_the_rounds(module):
    targets = module("targets")
    user = {"messages": 1_000_000, "seconds": 1.0, "server_user": 8.0}
    verdicts = targets.judge({"echo-1000": rounds((80, 100)), "pipelined-100": [{"ours": user}]})
    reached = {(each.target.scenario, each.target.metric, each.target.peer): each.reached for each in verdicts}
    assert reached["echo-1000", "rate", "picows+uvloop"] == 0.8
    assert reached["echo-1000", "rate", "aiohttp+uvloop"] is None  # it did not take part
    assert reached["pipelined-100", "user", None] == pytest.approx(4.0)  # half of what comes and goes costs
    assert not [key for key in reached if key[0] == "churn"]


def test_the_answer_to_a_compressed_message_is_read(module):
    measure = module("measure")
    measure.check_sample(measure.deflated(measure.MESSAGE).hex())
    measure.check_sample(measure.MESSAGE.hex())  # a server may send it as it is
    for wrong in (measure.deflated(b"something else").hex(), ""):
        with pytest.raises(RuntimeError, match="not what was sent"):
            measure.check_sample(wrong)


def test_a_table_is_aligned_markdown(module):
    table = module("table")
    assert table.aligned([["a", "b"], ["long", "1"]]) == "| a    |   b |\n| ---- | --: |\n| long |   1 |"
    assert [table.figure(number) for number in (None, 0.123, 12.34, 1234.5)] == ["-", "0.12", "12.3", "1,234"]


def test_failed_or_load_limited_measurements_are_named(module):
    """Measurements that failed or were limited by the load are named."""
    table = module("table")
    busy = {"messages": 1, "seconds": 1.0, "load_cpu": 0.99, "server_cpu": 0.5}
    results = {"echo-1": [{"ours": busy, "picows+uvloop": {"error": "gone"}}, {"ours": {**busy, "server_cpu": 0.99}}]}
    assert table.failures(results) == ["echo-1, picows+uvloop: gone"]
    assert table.doubts(results) == ["echo-1, ours: the load generator was busy all the time, and the server was not"]
    assert "3 connections" in table.doubts({"churn": [{"ours": {**busy, "errors": 3}}]})[0]


def test_chart_is_an_image_with_bars_proportional_to_figures(module):
    """The chart is an image whose bars are as long as the figures."""
    chart = module("chart")
    image = ElementTree.fromstring(chart.draw(chart.panels({"echo-100": rounds((50, 100))})))
    bars = {float(each.get("width")): each.get("fill") for each in image.iter("{http://www.w3.org/2000/svg}rect")}
    bars.pop(float(image.get("width")))
    longest, half = sorted(bars, reverse=True)
    assert half == pytest.approx(longest / 2, abs=0.1)
    assert bars[half] == chart.OUR_COLOUR
    assert "trio_ws" in {each.text for each in image.iter("{http://www.w3.org/2000/svg}text")}


def test_figures_replace_only_the_text_between_their_marks(module, tmp_path):
    """Figures go into the page between their marks and nothing else changes."""
    page = module("page")
    record = {
        "command": "make bench",
        "machine": {"load before": "4.00", "python": "3, pure Python codec"},
        "results": {"echo-100": rounds((80, 100))},
    }
    record["skipped"] = ["tls: no headers"]
    place = tmp_path / "performance.md"
    place.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.publish(record, tmp_path)
    text = place.read_text()
    assert text.startswith(f"before\n{page.BEGIN}\n")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "old" not in text
    assert "* tls: no headers" in text
    assert "busy with other work: its load average was 4.00" in text
    assert "`ours` ran with the pure Python codec" in text
    assert "0.80" in text
    assert (tmp_path / "performance" / "chart.svg").exists()
    assert json.loads((tmp_path / "performance" / "figures.json").read_text()) == record
    place.write_text("no marks")
    with pytest.raises(RuntimeError, match="no place for the figures"):
        page.publish(record, tmp_path)


def test_results_of_an_earlier_run_can_be_shown_again(module, tmp_path, capsys):
    record = {"command": "make bench", "machine": {}, "results": {"echo-100": rounds((80, 100))}, "skipped": []}
    (tmp_path / "figures.json").write_text(json.dumps(record))
    assert module("run").main(["--render", str(tmp_path / "figures.json"), "--output", str(tmp_path)]) == 0
    assert "picows+uvloop" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--seconds", "-1"], ["--seconds", "nan"], ["--peer", "nobody"]])
def test_an_option_that_makes_no_sense_is_refused(module, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        module("run").arguments(words)
    assert "usage" in capsys.readouterr().err
