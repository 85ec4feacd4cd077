"""Texts from mirrors on this machine: verified, resumed, the next mirror where one fails."""

import hashlib
import importlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
sys.path.insert(0, str(DATA))
script = importlib.import_module("fetch_text")
CorpusError = importlib.import_module("corpus_files").CorpusError

TEXTS = {
    "train": "".join(f" sentence {i} of the text \n" for i in range(9000)).encode(),
    "valid": "née\u2028not a new line\n".encode(),
    "test": b"the end\n",
}
SHA256 = {split: hashlib.sha256(text).hexdigest() for split, text in TEXTS.items()}


class Server(ThreadingHTTPServer):
    """Serve ``files``; cut the body after ``cut`` bytes if that is not None; log what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []

    def url(self, folder: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}{folder}"

    def put(self, folder: str, files: dict[str, bytes]) -> dict[str, str]:
        """Serve texts by split, and return them as a mirror."""
        self.files |= {f"{folder}/{split}.txt": text for split, text in files.items()}
        return {split: self.url(f"{folder}/{split}.txt") for split in files}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Range"]))
        body = self.server.files.get(self.path)
        if body is None:
            return self.send_error(404)
        begin = 0
        if self.headers["Range"] and self.server.ranges:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(body):
                return self.send_error(416)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        self.wfile.write(body[begin:][: self.server.cut])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def corpus(*mirrors: dict[str, str]) -> object:
    return script.Corpus("About the text.", SHA256, mirrors)


def read(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.iterdir() if path.name != "README.txt"}


def test_texts_arrive_byte_for_byte_and_once(server: Server, tmp_path: Path) -> None:
    wanted = corpus(server.put("/a", TEXTS))
    said = script.make(wanted, tmp_path / "out")
    assert read(tmp_path / "out") == TEXTS
    assert "About the text." in said and SHA256["train"] in said
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    count = len(server.asked)
    assert "nothing to do" in script.make(wanted, tmp_path / "out")
    assert len(server.asked) == count == 3


def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path) -> None:
    wanted = corpus(server.put("/a", TEXTS))
    server.cut = 100_000
    with pytest.raises(CorpusError, match="bytes early"):
        script.make(wanted, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    server.cut = None
    script.make(wanted, tmp_path / "out")
    assert read(tmp_path / "out") == TEXTS
    asked = [what for path, what in server.asked if path == "/a/train.txt"]
    assert asked == [None, "bytes=100000-"]


def test_a_server_that_cannot_go_on_starts_again(server: Server, tmp_path: Path) -> None:
    wanted = corpus(server.put("/a", TEXTS))
    server.cut, server.ranges = 100_000, False
    with pytest.raises(CorpusError):
        script.make(wanted, tmp_path / "out")
    server.cut = None
    script.make(wanted, tmp_path / "out")
    assert read(tmp_path / "out") == TEXTS


@pytest.mark.parametrize("left", [b"rubbish", b"x" * 10**6])
def test_rubbish_that_was_left_is_not_built_on(left: bytes, server: Server, tmp_path: Path) -> None:
    wanted = corpus(server.put("/a", TEXTS))
    server.cut = 10
    with pytest.raises(CorpusError):
        script.make(wanted, tmp_path / "out")
    (part,) = (tmp_path / ".out.download").iterdir()
    part.write_bytes(left)
    server.cut = None
    script.make(wanted, tmp_path / "out")
    assert read(tmp_path / "out") == TEXTS


def test_the_next_mirror_is_asked_where_one_fails(server: Server, tmp_path: Path) -> None:
    gone = {split: server.url(f"/gone/{split}.txt") for split in TEXTS}
    false = server.put("/false", {**TEXTS, "valid": b"another text\n"})
    script.make(corpus(gone, false, server.put("/good", TEXTS)), tmp_path / "out")
    assert read(tmp_path / "out") == TEXTS
    assert ("/good/valid.txt", None) in server.asked
    assert ("/good/train.txt", None) not in server.asked


def test_where_all_mirrors_fail_each_reason_is_said(server: Server, tmp_path: Path) -> None:
    gone = {split: server.url(f"/gone/{split}.txt") for split in TEXTS}
    false = server.put("/false", {**TEXTS, "valid": b"another text\n"})
    with pytest.raises(CorpusError) as error:
        script.make(corpus(false, gone), tmp_path / "out")
    said = str(error.value)
    assert "valid.txt could not be had" in said and "\n" not in said
    assert f"{false['valid']} (other content" in said and f"{gone['valid']} (Not Found)" in said
    assert not (tmp_path / "out").exists()


def test_texts_come_out_of_an_archive(server: Server, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for split, text in TEXTS.items():
            archive.writestr(f"text/wiki.{split}.tokens", text)
    server.files["/a.zip"] = (tmp_path / "a.zip").read_bytes()
    server.files["/bad.zip"] = server.files["/a.zip"][:-50]
    mirrors = [
        {split: server.url(f"{name}#text/wiki.{split}.tokens") for split in TEXTS}
        for name in ("/bad.zip", "/a.zip")
    ]
    script.make(corpus(*mirrors), tmp_path / "out")
    assert read(tmp_path / "out") == TEXTS


def test_another_corpus_in_the_folder_is_refused_before_anything_is_asked(
    server: Server, tmp_path: Path
) -> None:
    script.make(corpus(server.put("/a", TEXTS)), tmp_path / "out")
    server.asked.clear()
    with pytest.raises(CorpusError, match="holds another corpus"):
        script.make(script.PTB, tmp_path / "out")
    assert server.asked == []


def run_script(name: str, *args: object) -> subprocess.CompletedProcess:
    command = ["bash", str(DATA / name), *map(str, args)]
    env = {**os.environ, "BAS_PYTHON": sys.executable}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


@pytest.mark.parametrize("name", ["get_ptb.sh", "get_wikitext2.sh"])
def test_the_commands_refuse_another_text(name: str, server: Server, tmp_path: Path) -> None:
    server.put("/a", TEXTS)
    result = run_script(name, "--out", tmp_path / "out", "--mirror", server.url("/a/"))
    assert result.returncode == 1 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert f"{server.url('/a/train.txt')} (other content" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.environ.get("BAS_TEST_NETWORK") != "1", reason="set BAS_TEST_NETWORK=1")
@pytest.mark.parametrize(
    ("name", "lines", "tokens"),
    [
        ("get_ptb.sh", [42068, 3370, 3761], [929_589, 73_760, 82_430]),
        ("get_wikitext2.sh", [36718, 3760, 4358], [2_088_628, 217_646, 245_569]),
    ],
)
def test_the_published_corpora(
    name: str, lines: list[int], tokens: list[int], tmp_path: Path
) -> None:
    result = run_script(name, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    files = read(tmp_path / "out")
    texts = [files[split] for split in ("train", "valid", "test")]
    assert [text.count(b"\n") for text in texts] == lines
    counts = [len(text.split()) + text.count(b"\n") for text in texts]
    assert counts == tokens


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", b"0" * 1000)
    data = (tmp_path / "a.zip").read_bytes()
    assert script.read_member(data, "text") == b"0" * 1000
    monkeypatch.setattr(script, "LARGEST", 999)
    assert script.read_member(data, "text") is None


# -- archives -----------------------------------------------------------------------------------

archives = importlib.import_module("fetch_archive")
sources = importlib.import_module("sources")


def archive(server: Server, data: bytes, sha256: str | None, *more: str) -> object:
    server.files["/a/text.tgz"] = data
    return sources.Archive(
        (*more, server.url("/a/text.tgz")), len(data) if sha256 else None, sha256, "A text."
    )


def test_an_archive_is_resumed_verified_and_fetched_once(server: Server, tmp_path: Path) -> None:
    data = TEXTS["train"]
    wanted = archive(server, data, SHA256["train"], server.url("/gone/text.tgz"))
    server.cut = 100_000
    with pytest.raises(CorpusError, match="bytes early"):
        archives.fetch_archive(wanted, tmp_path)
    server.cut = None
    assert archives.fetch_archive(wanted, tmp_path).read_bytes() == data
    assert ("/a/text.tgz", "bytes=100000-") in server.asked
    server.asked.clear()
    archives.fetch_archive(wanted, tmp_path)
    assert server.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["text.tgz"]
    (tmp_path / "text.tgz").write_bytes(data[:-1] + b"x")
    with pytest.raises(CorpusError, match="other content than its SHA-256 says; remove it"):
        archives.fetch_archive(wanted, tmp_path)


def test_a_false_archive_is_not_taken_and_the_users_mirror_comes_first(
    server: Server, tmp_path: Path
) -> None:
    data = TEXTS["train"]
    server.files["/mine/text.tgz"] = data[:-1] + b"x"
    wanted = archive(server, data, SHA256["train"])
    path = archives.fetch_archive(wanted, tmp_path, [server.url("/mine/")])
    assert path.read_bytes() == data
    assert [where for where, _ in server.asked] == ["/mine/text.tgz", "/a/text.tgz"]


def test_without_a_published_checksum_the_first_file_is_pinned(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    wanted = archive(server, b"first", None)
    path = archives.fetch_archive(wanted, tmp_path)
    digest = hashlib.sha256(b"first").hexdigest()
    said = capsys.readouterr().err
    assert "no checksum of it is published" in said and digest in said
    assert (tmp_path / "text.tgz.sha256").read_text().split()[0] == digest
    path.unlink()
    server.files["/a/text.tgz"] = b"second"
    with pytest.raises(CorpusError, match=r"other content than .*text.tgz.sha256 says"):
        archives.fetch_archive(wanted, tmp_path)
    assert capsys.readouterr().err == ""
