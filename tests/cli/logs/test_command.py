from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from argoproxy.cli.logs.command import main
from argoproxy.telemetry.journal.writer import CLIENT_FILE, JournalFiles
from tests.support.journals import client_file, client_line, journal_of
from tests.support.processes import PATIENCE_S, ROOT, spawn

#: Restores the handler of Ctrl+C, which a shell may have set to be ignored.
RUN = """
import signal, sys
from pathlib import Path
from argoproxy.cli.logs.command import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[2:], Path(sys.argv[1])))
"""

Output = pytest.CaptureFixture[str]


def logs(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(folder), *arguments]
    return spawn(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_last_requests_are_a_table(tmp_path: Path, capsys: Output) -> None:
    client_file(tmp_path, [f"{number:08}" for number in range(30)], b"{half\n")
    assert main(["tail", "--no-follow", "--lines", "3"], tmp_path) == 0
    out, err = capsys.readouterr()
    assert [line.split()[2] for line in out.splitlines()[1:]] == ["00000028", "00000029"]
    assert err.split()[-1] == "1", "how many lines could not be read"
    assert main(["tail", "--no-follow"], tmp_path) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 19


def test_a_tail_follows_across_files_until_it_is_interrupted(tmp_path: Path) -> None:
    tail = logs(tmp_path, "tail")
    assert tail.stdout
    assert tail.stdout.readline().startswith("time (UTC)")
    journal = JournalFiles(tmp_path, 1, 5)
    for number in range(3):
        journal.write(client_line(f"{number:08}"), [])
        assert f" {number:08} gpt-4o " in tail.stdout.readline()
    tail.send_signal(signal.SIGINT)
    out, err = tail.communicate(timeout=PATIENCE_S)
    assert (tail.returncode, out, err) == (0, "", "")


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    client_file(tmp_path, map(str, range(20_000)))
    tail = logs(tmp_path, "tail", "--lines", "20000", "--no-follow")
    assert tail.stdout
    assert tail.stderr
    tail.stdout.readline()
    tail.stdout.close()
    assert (tail.wait(), tail.stderr.read()) == (0, "")
    tail.stderr.close()


def test_a_request_is_shown_by_the_beginning_of_its_id(tmp_path: Path, capsys: Output) -> None:
    exchanges = [(client_line(name), [client_line(name, upstream=name)]) for name in ("ab1", "ab2", "cd")]
    folder = journal_of(tmp_path, *exchanges)
    assert main(["show", "c"], folder) == 0
    out = capsys.readouterr().out
    assert out.count("logging_id     cd\n") == 2
    assert "upstream       cd\n" in out
    assert main(["show", "ab"], folder) == 2
    assert capsys.readouterr().err.split()[-2:] == ["ab1", "ab2"]
    assert main(["show", "x"], folder) == 2
    assert "begins with x" in capsys.readouterr().err


def test_json_is_what_the_journal_holds(tmp_path: Path, capsys: Output) -> None:
    folder = journal_of(tmp_path, (client_line("ab1"), [client_line("ab1", upstream="first")]))
    assert main(["tail", "--no-follow", "--json"], folder) == 0
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert main(["show", "ab", "--json"], folder) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["client"] == line
    assert [one["upstream"] for one in shown["server"]] == ["first"]


def test_many_ids_with_one_beginning_are_not_all_listed(tmp_path: Path, capsys: Output) -> None:
    client_file(tmp_path, map(str, range(1000, 1100)))
    assert main(["show", "1"], tmp_path) == 2
    assert capsys.readouterr().err.endswith(" …\n")


def test_a_request_whose_client_line_is_missing_is_shown(tmp_path: Path, capsys: Output) -> None:
    folder = journal_of(tmp_path, (client_line("a"), [client_line("ab")]))
    (folder / CLIENT_FILE).unlink()
    assert main(["show", "a"], folder) == 0
    assert "=== client: no line" in capsys.readouterr().out
    assert main(["show", "a", "--curl"], folder) == 2
    assert "no client's line of ab" in capsys.readouterr().err


def test_a_request_can_be_sent_again(tmp_path: Path, capsys: Output) -> None:
    shortened = client_line("b", input={"image": "data:image/png;base64,… (4000 characters)"})
    sizes = client_line("c", input={"bytes": 5})
    folder = journal_of(tmp_path, (client_line("a"), []), (shortened, []), (sizes, []))
    assert main(["show", "a", "--curl"], folder, 5001) == 0
    out, err = capsys.readouterr()
    assert out.startswith("curl -N http://localhost:5001/v1/chat/completions ")
    assert err == ""
    assert main(["show", "b", "--curl"], folder) == 0
    assert "base64" in capsys.readouterr().err
    assert main(["show", "c", "--curl"], folder) == 2


def test_numbers_per_model(tmp_path: Path, capsys: Output) -> None:
    client_file(tmp_path, "abc", b"{half\n")
    assert main(["stats"], tmp_path) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:6] for line in out.splitlines()[1:]] == [
        ["gpt-4o", "3", "0", "0", "45", "96"],
        ["total", "3", "0", "0", "45", "96"],
    ]
    assert err.split()[-1] == "1", "how many lines could not be read"
    assert main(["stats", "--json"], tmp_path) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["broken_lines"] == 1
    assert document["models"]["gpt-4o"] == document["total"]


def test_an_empty_folder_has_no_numbers(tmp_path: Path, capsys: Output) -> None:
    assert main(["stats"], tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["total", "0"]


def test_a_missing_folder_is_an_error(tmp_path: Path, capsys: Output) -> None:
    assert main(["stats"], None) == 2
    assert "No log folder is configured" in capsys.readouterr().err
    assert main(["stats"], tmp_path / "none") == 2
    assert f"The log folder {tmp_path / 'none'} does not exist." in capsys.readouterr().err
    (tmp_path / CLIENT_FILE).mkdir()
    assert main(["tail", "--no-follow"], tmp_path) == 2
    assert "Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["tail", "--lines", "-1"], ["show", ""], ["show"], ["other"]])
def test_what_can_not_be_understood_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments, tmp_path)
    assert refused.value.code == 2


def test_what_a_terminal_has_no_letters_for_is_spelled_out(tmp_path: Path) -> None:
    journal_of(tmp_path, (client_line("a", output={"a": "é€\ud800"}), []))
    command = [sys.executable, "-c", RUN, str(tmp_path), "show", "a"]
    environ = {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(command, env=environ, capture_output=True, check=True).stdout
    assert '"a": "é\\u20ac\\ud800"'.encode("latin-1") in shown
