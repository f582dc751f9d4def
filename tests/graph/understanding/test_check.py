"""``python -m graph.check`` from end to end, on small logs: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from configs.command import main
from graph.understanding.advice import lower_cutoffs

HEADER = "Suchanfrage-ID;Zeitstempel;Kunden-Nr;Suchbegriff;Artikel-Nr;Rang;angeklickt;Verweildauer\n"


def shop(folder, days=3, requests=8, zeros=True):
    """A shop's CSV with its own names: semicolons, ranks from 0, epoch milliseconds, ja and nein, ids without zeros."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(days * requests):
        moment = 1_709_294_400_000 + number * 86_400_000 // requests
        for rank in range(4):
            clicked = rank == number % 4
            row = [
                f"S{number}",
                moment,
                number % 3,
                "messer",
                (number + rank) % 9 + 1,
                rank,
                "ja" if clicked else "nein",
            ]
            lines.append(";".join(map(str, [*row, 30 + rank if clicked else ""])))
    (folder / "suchen.csv").write_text(HEADER + "\n".join(lines) + "\n")
    items = [f"{item:0{5 if zeros else 1}d};Messer [{item}];Küche > Messer;{item},50" for item in range(1, 10)]
    (folder / "artikel.csv").write_text(
        "Artikelnummer;Bezeichnung;Kategorie;Preis\n" + "\n".join(items) + "\n", "utf-8"
    )
    return folder


@pytest.fixture
def check(capsys):
    """Run the command; answers (status, what it printed, its error)."""

    def run(*arguments):
        status = main("graph.check", list(map(str, arguments)))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_shop_that_nobody_has_described(check, tmp_path):
    folder, mine = shop(tmp_path / "shop"), tmp_path / "mine.yaml"
    status, out, err = check("data=table", f"data.path={folder}", f"init={mine}")
    assert (status, err) == (0, "")
    for understood in (
        "ranks begin at 0",
        "milliseconds since 1970",
        "leading zeros were lost in the log",
        "decimal comma",
    ):
        assert understood in out
    assert "all 105 rows pass" in out
    assert "Verweildauer: agrees with clicked (correlation 1.00)" in out
    assert "Messer [1]" in out
    assert "of the test split, training never saw" in out
    assert "features (besides the hashed item id)" in out
    written = yaml.safe_load(mine.read_text("utf-8"))["data"]["table"]
    assert written["impressions"]["columns"]["position"] == "TRY_CAST(Rang AS INTEGER) + 1"
    status, again, _ = check("--config", mine)
    assert status == 0
    lines = out[out.index("checks:") : out.index("next:")].splitlines()
    assert again[again.index("checks:") :].splitlines() == [line for line in lines if "data.cutoffs" not in line]


def test_lists_that_are_shorter_than_every_cutoff(check, tmp_path):
    folder, mine = shop(tmp_path / "shop"), tmp_path / "mine.yaml"
    status, out, _ = check(f"data.path={folder}", f"init={mine}")
    assert status == 0
    assert "no ranked list has more than 4 items" in out
    assert yaml.safe_load(mine.read_text())["data"]["cutoffs"] == [1, 2]
    status, out, _ = check(f"--config={mine}")
    assert status == 0
    assert "data.cutoffs" not in out


@pytest.mark.parametrize(
    ("longest", "cutoffs", "lower"),
    [(10, [10, 30], [1, 2, 5]), (11, [10, 30], None), (2, [10], [1]), (1, [10], None), (0, [10], None)],
)
def test_lower_cutoffs(longest, cutoffs, lower):
    assert lower_cutoffs(longest, cutoffs) == lower


def test_a_path_alone_is_enough(check, tmp_path):
    status, out, _ = check(f"data.path={shop(tmp_path / 'shop')}")
    assert status == 0
    assert "data=table, as" in out


def test_nothing_but_the_mapping_is_written(check, tmp_path, monkeypatch):
    folder = shop(tmp_path / "shop")
    monkeypatch.chdir(tmp_path)
    assert check(f"data.path={folder}", "init=mine.yaml")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "shop"]
    assert sorted(path.name for path in folder.iterdir()) == ["artikel.csv", "suchen.csv"]


def test_a_mapping_is_not_written_over(check, tmp_path):
    folder, mine = shop(tmp_path / "shop"), tmp_path / "mine.yaml"
    mine.write_text("data: {name: table}\n")
    status, out, err = check(f"data.path={folder}", f"init={mine}")
    assert status == 2
    assert "is there already" in err
    assert "suchen.csv" not in out
    assert check(f"data.path={folder}", f"init={mine}", "overwrite=true")[0] == 0
    assert "impressions" in mine.read_text()


@pytest.mark.parametrize("init", ["", "nowhere/mine.yaml"])
def test_places_where_no_mapping_can_be_written(check, tmp_path, init):
    status, _, err = check(f"data.path={shop(tmp_path / 'shop')}", f"init={tmp_path / init}")
    assert status == 2
    assert "is a folder" in err or "does not exist" in err


def test_init_is_for_files_that_nobody_has_mapped(check, tmp_path):
    status, _, err = check("data=contract", f"data.path={tmp_path}", f"init={tmp_path / 'mine.yaml'}")
    assert status == 2
    assert "data=contract needs none" in err


def test_everything_that_is_missing_is_told_in_one_run(check, tmp_path):
    (tmp_path / "log.csv").write_text("searchId,sku,rank\n1,a,1\n1,b,2\n")
    (tmp_path / "weather.csv").write_text("city,rain\nUlm,1.5\n")
    status, out, err = check(f"data.path={tmp_path}")
    assert status == 2
    assert "2 problems" in err
    for problem in ("holds a time", "what was clicked"):
        assert problem in err
    assert "weather: cannot be told what a row is (city, rain); it is not used" in out
    assert "searchId" in out


def test_rows_that_fail_are_counted_with_what_to_do_and_end_in_an_error(check, tmp_path, good_rows, write_log):
    for row in good_rows[:30]:
        row["price"] = -1.0
    for row in good_rows[30:40]:
        row["position"] = 0 if row["position"] else None
    status, out, err = check("data=contract", f"data.path={write_log(tmp_path / 'log', good_rows)}")
    assert status == 2
    assert "30 rows: price is negative" in out
    assert "CASE WHEN price >= 0" in out
    assert "rows: position is below 1" in out
    assert "add 1" in out
    assert "the first 10 impressions" in out
    assert "rows: price is negative; 9 rows: position is below 1" in err.replace("\n", " ")


def test_ids_without_their_zeros_in_a_log_that_is_mapped(check, tmp_path, good_rows, write_log):
    rows = [row | {"item_id": str(row["item_id"])} for row in good_rows]
    items = [{"item_id": f"{item:05d}", "title": f"item {item}"} for item in range(1, 31)]
    folder = write_log(tmp_path / "log", rows, items=items)
    status, out, err = check("data=contract", f"data.path={folder}")
    assert status == 2
    assert "item_id: leading zeros were lost in the log" in out
    assert "lpad(CAST(item_id AS VARCHAR), 5, '0')" in out
    assert "no request is left" in err


def test_a_session_that_stands_in_for_the_user_is_told(check, tmp_path, good_rows, write_log):
    for number, row in enumerate(good_rows):
        row["user_id"] = row["request_id"]
        row["add_to_cart"] = number % 7 == 0
    status, out, _ = check("data=contract", f"data.path={write_log(tmp_path / 'log', good_rows)}")
    assert status == 0
    assert "user_id: 100% of the test's rows have one that training never saw" in out
    assert "add_to_cart: is an outcome by its name" in out


def test_it_never_loads_torch_and_prints_in_any_encoding(tmp_path):
    folder = shop(tmp_path / "shop")
    code = (
        "import sys; from configs.command import main; status = main('graph.check', sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"data.path={folder}"],
        env={"PYTHONIOENCODING": "ascii", "COLUMNS": "50", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Messer [1]" in done.stdout


def test_another_encoding_and_words_for_a_missing_value(check, tmp_path):
    folder, mine = shop(tmp_path / "shop"), tmp_path / "mine.yaml"
    text = (folder / "suchen.csv").read_text()
    text = text.replace("messer", "küche").replace(";nein;\n", ";nein;NULL\n")
    (folder / "suchen.csv").write_bytes(text.encode("cp1252"))
    (folder / "LIESMICH.txt").write_text("Guten Tag\nAlles da\n")
    status, out, err = check(f"data.path={folder}", f"init={mine}")
    assert (status, err) == (0, "")
    assert "küche" in out
    assert "LIESMICH: cannot be told what a row is" in out
    assert yaml.safe_load(mine.read_text("utf-8"))["data"]["table"]["impressions"]["options"] == {
        "encoding": "cp1252",
        "nullstr": ["", "NULL"],
    }
    assert check("--config", mine)[0] == 0


def test_a_file_that_cannot_be_read_is_told_beside_the_others(check, tmp_path):
    folder = shop(tmp_path / "shop")
    (folder / "kunden.parquet").write_bytes(b"PAR1")
    status, out, err = check(f"data.path={folder}")
    assert status == 2
    assert "kunden.parquet is not a whole Parquet file" in err
    assert "ranks begin at 0" in out


def test_fields_of_structs_within_structs(check, tmp_path):
    lines = [
        json.dumps(
            {
                "event": ["view", "click", "purchase"][number % 3],
                "properties": {"product": {"id": f"p{number // 3 % 9}"}, "tags": ["a"], "m": {}},
                "userId": f"u{number % 4}",
                "timestamp": f"2024-03-0{1 + number // 60}T10:00:{number // 6 % 60:02d}Z",
                "sessionId": f"s{number // 6}",
            }
        )
        for number in range(180)
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    _, out, err = check(f"data.path={tmp_path / 'events.jsonl'}", "data.rejected_share=1")
    assert '"properties"."product"."id"' in out
    assert not err


def test_items_of_the_impressions_own_columns(check, tmp_path):
    lines = ["search_id,time,user,query,item,rank,click,brand,colour,device"]
    for request in range(30):
        for rank in range(1, 5):
            item = (request * 3 + rank) % 20
            lines.append(
                f"s{request},2024-03-{1 + request // 10:02d} 10:00:00,u{request % 5},knife,{item},{rank},"
                f"{int(rank == 2)},b{item % 4},c{item % 3},{'phone' if request % 2 else 'desk'}"
            )
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    status, out, err = check(f"data.path={tmp_path / 'log.csv'}", f"init={tmp_path / 'mine.yaml'}")
    assert (status, err) == (0, "")
    items = yaml.safe_load((tmp_path / "mine.yaml").read_text())["data"]["table"]["items"]
    assert items == {"columns": {"brand": "brand", "colour": "colour"}}
    assert "20 items" in out


def test_parquet_with_nested_fields(check, tmp_path):
    rows = pa.table(
        {
            "properties": [{"product_id": item, "position": rank} for item, rank in [("a", 1), ("b", 2), ("a", 1)]]
            * 20,
            "searchId": [str(n // 3) for n in range(60)],
            "query": ["knife"] * 60,
            "user": ["u"] * 60,
            "timestamp": pa.array([1_709_294_400 + n // 3 * 9_000 for n in range(60)]),
            "clicked": [n % 3 == 0 for n in range(60)],
        }
    )
    pq.write_table(rows.slice(0, 60), tmp_path / "log.parquet")
    status, out, err = check(f"data.path={tmp_path / 'log.parquet'}", "data.rejected_share=0.5")
    assert (status, err) == (0, "")
    assert '"properties"."product_id"' in out
    assert "20 rows: item_id repeats in the request" in out
