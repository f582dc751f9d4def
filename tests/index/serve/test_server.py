"""The report server: what it answers, and what it refuses to."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command import main, parse
from configs.errors import InputError
from configs.stages import write_json
from graph.logs.log import catalogue_fingerprint
from index.serve.runs import RunsFolder
from index.serve.server import server_of
from prerank.web.server import Server
from pretrain.embeddings import EmbeddingTable

ITEMS, DIMENSION = 200, 8
HOSTILE = "\"><img src=x onerror=window.ran=1><script>window.ran=2<∕script>javascript:${7*7}{{7*7}}'`&"
REPORT = (
    "<!DOCTYPE html><title>r</title><p id=p>report</p><script>document.getElementById('p').textContent='drawn'</script>"
)


@dataclass
class Served:
    """A running server and the folder that it shows."""

    server: Server
    folder: Path

    def raw(self, method: str, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{self.server.port}", **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse()

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        answer = self.raw("GET", path, headers)
        return answer.status, answer.read().decode()

    def json(self, path: str) -> Any:
        status, text = self.get(path)
        assert status == 200, text
        return json.loads(text)


def write_run(root: Path, title: Callable[[int], str] = "Lamp {}".format) -> dict[str, np.ndarray]:
    """A run with items, psi of the even ones, phi of all, figures and reports."""
    generator = np.random.default_rng(0)
    ids = pa.array([f"i{row}" for row in range(ITEMS)])
    catalogue = catalogue_fingerprint(ids)
    (root / "logs").mkdir(parents=True)
    table = pa.table({"item_id": ids, "title": [title(r) for r in range(ITEMS)], "brand": ["Café Noir"] * ITEMS})
    pq.write_table(table, root / "logs" / "items.parquet")
    splits = {"test": {"last": "2024-01-09 10:00:00.000"}}
    write_json(root / "logs" / "log.json", {"catalogue": catalogue, "simulated": True, "splits": splits})
    vectors = {name: generator.normal(size=(ITEMS, DIMENSION)).astype(np.float32) for name in ("psi", "phi")}
    even = np.arange(0, ITEMS, 2)
    EmbeddingTable(ids.take(pa.array(even)), vectors["psi"][even], catalogue, "psi").save(root / "pretrain" / "psi")
    EmbeddingTable(ids, vectors["phi"], catalogue, "phi").save(root / "prerank" / "grace" / "phi")
    (root / "prerank" / "encoded" / "items").mkdir(parents=True)
    np.save(root / "prerank" / "encoded" / "items" / "training_impressions.npy", np.arange(ITEMS))
    cell = {"value": 0.7123, "low": 0.70, "high": 0.72, "n": 1234}
    write_json(root / "prerank" / "grace" / "metrics.json", {"test": {"all": {"gauc_click": cell}}})
    overlap = {"overlap@10": {**cell, "value": 0.4}, "overlap@10_chance": {**cell, "value": 0.05}}
    write_json(root / "index" / "audit.json", {"system": "grace", "overlap": overlap})
    (root / "reports").mkdir()
    (root / "reports" / "segments.html").write_text(REPORT)
    (root / "mechanisms").mkdir()
    (root / "mechanisms" / "mechanisms.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (root / "prerank" / "grace" / "secret.bin").write_text("secret")
    return vectors


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[[], Served]]:
    """Starts a server on the folder ``runs`` of a temporary folder; stops it after the test."""
    started: list[Server] = []

    def start() -> Served:
        server = server_of(parse([f"runs_folder={tmp_path / 'runs'}", "serve.port=0"]))
        threading.Thread(target=server.run, daemon=True).start()
        started.append(server)
        return Served(server, tmp_path / "runs")

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def served(tmp_path: Path, serving: Callable[[], Served]) -> Served:
    write_run(tmp_path / "runs" / "demo")
    (tmp_path / "secret.html").write_text("secret")
    return serving()


def test_the_runs_and_their_reports_are_listed(served: Served) -> None:
    status, text = served.get("/")
    assert status == 200
    for shown in (
        "demo",
        "0.7123 (0.7000 to 0.7200), n 1,234",
        "log ends 2024-01-09",
        "overlap@10 0.4000",
        "by chance 0.0500",
    ):
        assert shown in text
    (run,) = served.json("/api/runs")["runs"]
    assert run["reports"] == ["reports/segments.html"]
    assert served.get("/run/demo")[0] == 200
    for path in ("reports/segments.html", "mechanisms/mechanisms.svg", "prerank/grace/metrics.json", "logs/log.json"):
        status, text = served.get(f"/run/demo/file/{path}")
        assert (status, text) == (200, (served.folder / "demo" / path).read_text())


def test_reports_are_sandboxed_and_own_pages_run_no_inline_script(served: Served) -> None:
    report = served.raw("GET", "/run/demo/file/reports/segments.html")
    assert "sandbox allow-scripts" in report.headers["Content-Security-Policy"]
    assert "allow-same-origin" not in report.headers["Content-Security-Policy"]
    svg = served.raw("GET", "/run/demo/file/mechanisms/mechanisms.svg")
    assert "script" not in svg.headers["Content-Security-Policy"].replace("sandbox", "")
    for path in ("/", "/search", "/run/demo", "/nowhere"):
        answer = served.raw("GET", path)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/run/demo/file/../../../secret.html",
        "/run/demo/file/reports/../../../secret.html",
        "/run/demo/file/%2e%2e/%2e%2e/secret.html",
        "/run/demo/file/..%2f..%2fsecret.html",
        "/run/demo/file/reports%2fsegments.html",
        "/run/demo/file/%252e%252e%252fsecret.html",
        "/run/demo/file/..%5c..%5csecret.html",
        "/run/demo/file//etc/passwd",
        "/run/demo/file/%2fetc%2fpasswd",
        "/run/demo/file/reports/segments.html%00.json",
        "/run/demo/file/reports/",
        "/run/demo/file/reports",
        "/run/demo/file/prerank/grace/secret.bin",
        "/run/demo/file/prerank/grace/phi/vectors.safetensors",
        "/run/demo/file/reports/*.html",
        "/run/../secret.html",
        "/run/%2e%2e/file/secret.html",
        "/run/./file/reports/segments.html",
        "/run/.hidden",
        "/run/%ff",
        "/-/../serve.py",
        "/-/search.html",
        "/-/segments.js",
        "/../../etc/passwd",
    ],
)
def test_nothing_but_listed_files_can_be_had(served: Served, path: str) -> None:
    status, text = served.get(path)
    assert status == 404
    assert "There is no such run or report" in text
    assert "root:" not in text
    assert "secret" not in text.replace("secret.html", "")


def test_links_out_of_the_folder_are_refused_and_links_within_are_not(served: Served, tmp_path: Path) -> None:
    reports = served.folder / "demo" / "reports"
    (reports / "out.html").symlink_to(tmp_path / "secret.html")
    (reports / "in.html").symlink_to(reports / "segments.html")
    (reports / "log.html").symlink_to(served.folder / "demo" / "logs" / "items.parquet")
    outside = tmp_path / "outside"
    write_run(outside)
    (served.folder / "linked").symlink_to(outside)
    (served.folder / "loop").symlink_to(served.folder / "loop")
    status, text = served.get("/run/demo/file/reports/out.html")
    assert status == 403
    assert "leads out of the folder" in text
    assert served.get("/run/demo/file/reports/in.html") == (200, REPORT)
    assert served.get("/run/demo/file/reports/log.html")[0] == 403
    assert served.get("/run/linked")[0] == 403
    assert served.get("/run/loop")[0] == 404
    assert served.get("/api/items?run=linked&q=lamp")[0] == 403
    assert [run["run"] for run in served.json("/api/runs")["runs"]] == ["demo"]
    (served.folder / "demo" / "logs" / "items.parquet").unlink()
    (served.folder / "demo" / "logs" / "items.parquet").symlink_to(outside / "logs" / "items.parquet")
    assert served.get("/api/items?run=demo&q=lamp")[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost.evil:{port}", "[::1]:{port}", ""]
)
def test_other_hosts_are_refused(served: Served, host: str) -> None:
    status, text = served.get("/", Host=host.format(port=served.server.port))
    assert status == 421
    assert "demo" not in text


def test_localhost_is_this_machine_too(served: Served) -> None:
    assert served.get("/", Host=f"LOCALHOST:{served.server.port}")[0] == 200
    assert served.server.listener.getsockname()[0] == "127.0.0.1"


def test_other_sites_cannot_ask_for_data(served: Served) -> None:
    for site in ("cross-site", "same-site"):
        assert served.get("/api/runs", **{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})[0] == 403
    assert served.get("/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_only_get_is_answered(served: Served, method: str) -> None:
    answer = served.raw(method, "/")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET"


def test_nonsense_gets_a_readable_page(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.server.port)) as connection:
        connection.sendall(b"<script>alert(1)</script>\r\n\r\n")
        text = connection.makefile("rb").read().decode()
    assert "<script>alert" not in text
    assert "Bad Request" in text
    assert served.get("/" + "a" * 5000)[0] == 414
    assert served.get("http://evil.example/")[0] == 400


def naive(vectors: np.ndarray, row: int, among: np.ndarray, k: int) -> list[str]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = sorted((other for other in among if other != row), key=lambda other: -float(units[row] @ units[other]))
    return [f"i{other}" for other in order[:k]]


@pytest.mark.parametrize("among", ["shared", "all"])
def test_neighbours_are_those_of_a_naive_search(served: Served, tmp_path: Path, among: str) -> None:
    vectors = write_run(tmp_path / "again")
    even, every = np.arange(0, ITEMS, 2), np.arange(ITEMS)
    found = served.json(f"/api/neighbours?run=demo&item=i10&a=psi&b=phi:grace&k=7&among={among}")
    left, right = ([near["item_id"] for near in side["neighbours"]] for side in found["lists"])
    assert left == naive(vectors["psi"], 10, even, 7)
    assert right == naive(vectors["phi"], 10, even if among == "shared" else every, 7)
    common = set(left) & set(right)
    assert found["agreement"] == {"common": len(common), "of": 7, "share": len(common) / 7}
    for side, other in ((0, right), (1, left)):
        for near in found["lists"][side]["neighbours"]:
            assert near["rank_in_other"] == (other.index(near["item_id"]) + 1 if near["item_id"] in other else None)
    first = found["lists"][0]["neighbours"][0]
    assert first["impressions"] == int(first["item_id"][1:])
    assert first["attributes"]["brand"] == "Café Noir"
    units = vectors["psi"] / np.linalg.norm(vectors["psi"], axis=1, keepdims=True)
    assert first["cosine"] == pytest.approx(float(units[10] @ units[int(left[0][1:])]), abs=1e-4)


def test_an_item_without_a_psi_has_neighbours_under_phi_alone(served: Served) -> None:
    found = served.json("/api/neighbours?run=demo&item=i11&a=psi&b=phi:grace&k=5")
    assert (found["lists"][0]["holds_item"], found["lists"][0]["neighbours"]) == (False, [])
    assert len(found["lists"][1]["neighbours"]) == 5
    assert found["agreement"] is None
    alone = served.json("/api/neighbours?run=demo&item=i10&a=psi&k=100")
    assert len(alone["lists"]) == 1
    assert len(alone["lists"][0]["neighbours"]) == ITEMS // 2 - 1


def test_an_embedding_is_not_compared_with_itself(served: Served) -> None:
    found = served.json("/api/neighbours?run=demo&item=i10&a=psi&b=psi&k=5")
    assert (len(found["lists"]), found["agreement"]) == (1, None)
    assert all(near["rank_in_other"] is None for near in found["lists"][0]["neighbours"])


@pytest.mark.parametrize(
    ("item", "among", "searched"),
    [("i10", "shared", [ITEMS // 2 - 1] * 2), ("i10", "all", [ITEMS // 2 - 1, ITEMS - 1]),
     ("i11", "shared", [ITEMS // 2] * 2), ("i11", "all", [ITEMS // 2, ITEMS - 1])],
)  # fmt: skip
def test_the_number_of_items_that_were_searched_is_told(
    served: Served, item: str, among: str, searched: list[int]
) -> None:
    found = served.json(f"/api/neighbours?run=demo&item={item}&a=psi&b=phi:grace&k=100&among={among}")
    assert [side["searched"] for side in found["lists"]] == searched
    assert [side["items"] for side in found["lists"]] == [ITEMS // 2, ITEMS]


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("compare", "it is a comparison"),
        ("mechanisms", "an experiment"),
        ("reports", "reports only"),
        ("", "pretrain.run"),
    ],
)
def test_what_to_do_about_a_run_without_items_depends_on_the_run(served: Served, inside: str, words: str) -> None:
    (served.folder / "other" / inside).mkdir(parents=True)
    status, text = served.get("/api/items?run=other&q=lamp")
    assert (status, words in text) == (409, True)
    assert ("pretrain.run" in text) == (inside == "")
    assert words in served.json("/api/embeddings?run=other")["reason"]


def test_items_are_found_by_id_and_by_words_the_most_seen_first(served: Served) -> None:
    def ids(query: str) -> list[str]:
        return [item["item_id"] for item in served.json(f"/api/items?run=demo&q={query}&limit=5")["items"]]

    assert ids("i7")[0] == "i7"
    assert ids("LAMP%2019") == ["i199", "i198", "i197", "i196", "i195"]
    assert ids("cafe%20lamp%20150") == ["i150"]
    assert ids("%25") == ids("nothing%20like%20this") == ids("%20") == []
    assert ids("'%20OR%201=1%20--") == []


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/items?run=demo", 400, "q=... is missing"),
        ("/api/items?q=x", 400, "run=... is missing"),
        ("/api/items?run=demo&q=x&limit=0", 400, "limit must be"),
        ("/api/items?run=demo&q=x&limit=51", 400, "limit must be"),
        ("/api/items?run=nowhere&q=x", 404, "no such run"),
        ("/api/neighbours?run=demo&item=i1", 400, "a=... is missing"),
        ("/api/neighbours?run=demo&item=i1&a=psi&k=1e3", 400, "k must be"),
        ("/api/neighbours?run=demo&item=i1&a=psi&among=none", 400, "among must be"),
        ("/api/neighbours?run=demo&item=zzz&a=psi", 409, "no item zzz"),
        ("/api/neighbours?run=demo&item=i1&a=phi:..", 409, "no embedding phi:.."),
        ("/api/nothing", 404, "no such"),
    ],
)
def test_wrong_questions_are_answered_in_json(served: Served, path: str, status: int, message: str) -> None:
    found, text = served.get(path)
    assert found == status
    assert message in json.loads(text)["error"]


def test_a_table_of_another_catalogue_is_refused(served: Served) -> None:
    facts = json.loads((served.folder / "demo" / "logs" / "log.json").read_text())
    write_json(served.folder / "demo" / "logs" / "log.json", {**facts, "catalogue": "other"})
    status, text = served.get("/api/neighbours?run=demo&item=i1&a=psi")
    assert status == 409
    assert "catalogue" in text


def test_a_table_made_anew_is_read_anew(served: Served) -> None:
    address = "/api/neighbours?run=demo&item=i10&a=phi:grace&k=3"
    before = served.json(address)
    folder = served.folder / "demo" / "prerank" / "grace" / "phi"
    table = EmbeddingTable.load(folder)
    shuffled = np.random.default_rng(9).permutation(np.asarray(table.vectors))
    EmbeddingTable(table.ids, shuffled, table.catalogue, "phi").save(folder)
    assert served.json(address)["lists"] != before["lists"]


def test_damaged_files_are_left_out_not_fatal(served: Served) -> None:
    (served.folder / "demo" / "prerank" / "grace" / "metrics.json").write_text("{")
    (served.folder / "demo" / "index" / "audit.json").write_text("[1]")
    write_json(served.folder / "demo" / "logs" / "log.json", {"splits": [1]})
    (served.folder / "empty").mkdir()
    assert served.get("/")[0] == 200
    assert served.get("/run/empty")[0] == 200


def test_a_port_in_use_says_what_to_do(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"runs_folder={tmp_path / 'runs'}", f"serve.port={served.server.port}"]
    assert main("index.serve", arguments) == 2
    assert "is in use: give another by serve.port=..." in capsys.readouterr().err
    with pytest.raises(InputError, match="does not exist"):
        RunsFolder.open(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="at most 65535"):
        parse(["serve.port=65536"])


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_ends_it_cleanly(tmp_path: Path, stop: signal.Signals) -> None:
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "-u", "-m", "index.serve", f"runs_folder={tmp_path / 'runs'}", "serve.port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.readline()
        assert "http://127.0.0.1:" in printed
        assert ":0/" not in printed
        address = next(word for word in printed.split() if word.startswith("http"))
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(stop)
        printed, errors = process.communicate(timeout=20)
    assert (process.returncode, printed, errors) == (0, "stopped\n", "")


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address of the server; the test fails on console errors and on requests to anything else."""
    faults: list[str] = []
    contexts = []

    def open_(served: Served, path: str, width: int = 1400, errors: tuple[str, ...] = ()) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 1000})
        contexts.append(context)
        page = context.new_page()

        def heard(message: Any) -> None:
            if message.type in ("error", "warning") and not any(known in message.text for known in errors):
                faults.append(message.text)

        page.on("console", heard)
        page.on("pageerror", lambda error: faults.append(str(error)))
        allowed = (served.server.url, "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(allowed) or faults.append(request.url))
        page.goto(served.server.url.rstrip("/") + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults, faults


def until(page: Any, expression: str) -> None:
    """Waits for a JavaScript condition; Playwright's own wait would need the `eval` that the pages forbid."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never true: {expression}")


def test_a_reader_searches_from_the_keyboard(served: Served, visit: Callable[..., Any]) -> None:
    page = visit(served, "/search?run=demo")
    until(page, "document.getElementById('b').value === 'phi:grace'")
    page.focus("#wanted")
    page.keyboard.type("lamp 19")
    page.wait_for_selector("#found button")
    assert page.locator("#found button").count() == 12
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#lists li, #lists .none")
    page.keyboard.press("ArrowDown")
    until(page, "document.querySelectorAll('#lists li').length === 20")
    assert page.evaluate("document.activeElement.textContent").startswith("Lamp 198")
    assert page.inner_text("#item").startswith("Lamp 198")
    assert "neighbours are the same" in page.inner_text("#agreement")
    page.select_option("#among", "all")
    until(page, "document.getElementById('agreement').textContent.includes('all that it holds')")
    page.fill("#k", "3")
    page.keyboard.press("Tab")
    until(page, "document.querySelectorAll('#lists li').length === 6")
    page.select_option("#b", "psi")
    until(page, "document.getElementById('agreement').textContent.startsWith('One embedding: compared with nothing')")
    assert page.locator("#lists li").count() == 3
    assert page.input_value("#b") == ""
    page.fill("#wanted", "nothing at all")
    page.wait_for_selector("#found .none")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "wanted"
    phone = visit(served, "/", width=400)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_run_with_psi_alone_is_compared_with_nothing_and_a_bad_k_leaves_no_old_list(
    served: Served, visit: Callable[..., Any]
) -> None:
    shutil.rmtree(served.folder / "demo" / "prerank" / "grace" / "phi")
    page = visit(served, "/search?run=demo", errors=("400",))
    until(page, "document.querySelector('#a').value === 'psi'")
    assert page.input_value("#b") == ""
    assert "nothing to compare it with" in page.inner_text("#state")
    page.fill("#wanted", "i10")
    page.locator("#found button").first.click()
    until(page, "document.querySelectorAll('#lists li').length === 10")
    assert "compared with nothing" in page.inner_text("#agreement")
    assert "99 of its 100 items searched" in page.inner_text("#lists h3")
    page.fill("#k", "1000")
    page.locator("#k").dispatch_event("change")
    until(page, "document.querySelector('#state').textContent.includes('k must be')")
    assert page.inner_text("#lists") == ""
    assert page.inner_text("#agreement") == ""


def test_nothing_that_titles_and_runs_are_called_can_run(
    tmp_path: Path, serving: Callable[[], Served], visit: Callable[..., Any]
) -> None:
    root = tmp_path / "runs" / HOSTILE
    write_run(root, lambda row: f"{row} {HOSTILE.replace('∕', '/')}\n")
    (root / "prerank" / "grace").rename(root / "prerank" / HOSTILE)
    (root / "reports" / "segments.html").rename(root / "reports" / f"{HOSTILE}.html")
    write_json(
        root / "index" / "audit.json",
        {"system": HOSTILE, "overlap": {HOSTILE: {"value": 1, "low": None, "high": None, "n": 1}}},
    )
    served = serving()
    page = visit(served, "/")
    assert page.inner_text("h2") == f"{HOSTILE} simulated"
    page.click("h2 a")
    assert page.inner_text("h1") == f"{HOSTILE} simulated"
    page.click("text=Search its items")
    until(page, "document.getElementById('a').value === 'psi'")
    page.fill("#wanted", "lamp img")
    page.wait_for_selector("#found .none")
    page.fill("#wanted", "10 onerror")
    page.wait_for_selector("#found button")
    page.locator("#found button").last.click()
    page.wait_for_selector("#lists li")
    assert "<img src=x" in page.inner_text("#lists")
    assert page.locator("img").count() == 0
    assert page.evaluate("window.ran") is None
    missing = visit(served, "/run/%3Cscript%3Ewindow.ran=3%3C%2Fscript%3E", errors=("404",))
    assert missing.evaluate("window.ran") is None


def test_a_report_opens_as_it_is_and_cannot_read_the_server(served: Served, visit: Callable[..., Any]) -> None:
    curious = (
        "<p id=p></p><script>fetch('/api/runs').then(answer => answer.text(), () => 'refused')"
        ".then(text => document.getElementById('p').textContent = text)</script>"
    )
    (served.folder / "demo" / "reports" / "curious.html").write_text(curious)
    page = visit(served, "/run/demo")
    page.click("text=segments")
    page.wait_for_selector("#p")
    assert page.inner_text("#p") == "drawn"
    spy = visit(served, "/run/demo/file/reports/curious.html", errors=("Content Security Policy", "Refused to connect"))
    until(spy, "document.getElementById('p').textContent !== ''")
    assert spy.inner_text("#p") == "refused"
