"""Berkeley DB files: what Debian's postmap made, what the library itself makes of other page sizes and byte orders, and
damaged ones.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest

from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource
from mailsuite.maps.berkeley import hash_of, open_file
from mailsuite.maps.opening import open_table
from mailsuite.maps.table import TableError

SOURCE = MapSource(Settings.of({}), "smtpd")
POSTMAP = "/usr/sbin/postmap"
is_postfix = pytest.mark.skipif(not Path("/usr/lib/postfix/sbin/smtpd").exists(), reason="Postfix is not installed")
has_library = pytest.mark.skipif(shutil.which("perl") is None or subprocess.run(
    ["perl", "-MDB_File", "-e1"], capture_output=True).returncode != 0, reason="Perl's DB_File is not installed")

# Entries by the thousand make the hash split its buckets and the tree grow; long ones need pages of their own.
ENTRIES = {f"user{number}@d{number % 7}.test": f"value {number}," + "x" * (number % 90) for number in range(3000)}
LARGE = {**ENTRIES, "long": "y" * 70000, "k" * 5000: "long key", "l" * 5001: "z" * 9000}


def postmap(folder: Path, kind: str, entries: dict[str, str], *letters: str) -> None:
    (folder / "main.cf").write_text("compatibility_level = 3.7\n")
    (folder / "t").write_text("".join(f"{key} {value}\n" for key, value in entries.items()))
    os.utime(folder / "main.cf", (1, 1))            # a young file is waited for
    subprocess.run([POSTMAP, "-c", str(folder), *letters, f"{kind}:{folder}/t"], check=True, timeout=60)


@is_postfix
@pytest.mark.parametrize("letters", [[], ["-n"]], ids=["with NUL", "without NUL"])
@pytest.mark.parametrize("entries", [{}, {"a": "b"}, LARGE], ids=["empty", "one", "many"])
@pytest.mark.parametrize("kind", ["hash", "btree", "lmdb"])
def test_files_of_postfix_are_read_as_they_are(kind: str, entries: dict[str, str], letters: list[str],
                                               tmp_path: Path) -> None:
    if kind == "lmdb":
        entries = {key: value for key, value in entries.items() if len(key) < 500}
    postmap(tmp_path, kind, entries, *letters)
    table = open_table(f"{kind}:{tmp_path}/t", SOURCE)
    assert {key: table.lookup(key) for key in entries} == entries
    assert dict(table.items()) == entries
    assert table.lookup("absent@nowhere") is None and table.lookup("") is None


@is_postfix
def test_our_lmdb_files_are_postfix_own(tmp_path: Path) -> None:
    from mailsuite.maps.index_file import write_index

    (tmp_path / "main.cf").write_text("compatibility_level = 3.7\n")
    os.utime(tmp_path / "main.cf", (1, 1))
    write_index(f"{tmp_path}/t.lmdb", ENTRIES.items())
    said = subprocess.run([POSTMAP, "-c", str(tmp_path), "-s", f"lmdb:{tmp_path}/t"], check=True, timeout=60,
                          capture_output=True, text=True).stdout
    assert dict(line.split("\t", 1) for line in said.splitlines()) == ENTRIES


PERL = """
use DB_File; use Fcntl;
my ($path, $kind, $page, $order) = @ARGV;
my $info = $kind eq "hash" ? DB_File::HASHINFO->new : DB_File::BTREEINFO->new;
$info->{$kind eq "hash" ? "bsize" : "psize"} = $page;
$info->{lorder} = $order;
tie my %table, "DB_File", $path, O_RDWR|O_CREAT, 0644, $info or die "$!";
while (my $line = <STDIN>) { chomp $line; my ($key, $value) = split /\\t/, $line; $table{$key} = $value }
"""


@has_library
@pytest.mark.parametrize("order", [1234, 4321], ids=["little endian", "big endian"])
@pytest.mark.parametrize("page", [512, 4096, 65536])
@pytest.mark.parametrize("kind", ["hash", "btree"])
def test_page_sizes_and_byte_orders(kind: str, page: int, order: int, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    text = "".join(f"{key}\t{value}\n" for key, value in LARGE.items())
    subprocess.run(["perl", "-e", PERL, str(path), kind, str(page), str(order)], input=text, text=True, check=True,
                   timeout=60)
    table = open_table(f"{kind}:{tmp_path}/t", SOURCE)
    assert {key: table.lookup(key) for key in LARGE} == LARGE
    assert dict(table.items()) == LARGE and table.lookup("absent") is None


def test_hash() -> None:
    """What every file of the library tells as the hash of its sample."""
    assert hash_of(b"%$sniglet^&\0") == 0x5E688DD1


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file that postmap made, or none."""
    if not Path(POSTMAP).exists():
        pytest.skip("Postfix is not installed")
    postmap(tmp_path, "hash", {f"key{number}": "v" * 40 for number in range(300)})
    return tmp_path / "t.db"


def test_a_rewritten_file_is_noticed(small: Path) -> None:
    table = open_table(f"hash:{small.parent}/t", SOURCE)
    assert table.lookup("key1") == "v" * 40
    postmap(small.parent, "hash", {"key1": "new"})          # in place, as Postfix does it
    assert table.lookup("key1") == "new" and table.lookup("key2") is None


def test_a_file_that_is_being_written_cannot_be_asked(small: Path) -> None:
    table = open_table(f"hash:{small.parent}/t", SOURCE)
    with open(small, "rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(TableError, match="being written"):
            table.lookup("key1")
    assert table.lookup("key1") == "v" * 40


def test_deleting_and_adding_makes_the_file_ours(small: Path) -> None:
    from mailsuite.maps.building import Builder
    from mailsuite.maps.tool_options import Options

    builder = Builder("postmap", SOURCE, Options())
    assert builder.delete([f"hash:{small.parent}/t"], ["KEY1", "none"])
    table = open_table(f"hash:{small.parent}/t", SOURCE)
    assert table.lookup("key1") is None and table.lookup("key2") == "v" * 40
    assert small.read_bytes()[16:20] == bytes.fromhex("dec0efbe")


@pytest.mark.parametrize("kind", ["hash", "btree"])
def test_damage_is_an_error_never_a_crash(kind: str, tmp_path: Path) -> None:
    if not Path(POSTMAP).exists():
        pytest.skip("Postfix is not installed")
    postmap(tmp_path, kind, {f"key{number}": "v" * (number % 600) + "!" for number in range(200)})
    octets = (tmp_path / "t.db").read_bytes()
    noise, answers = Random(5), 0
    for round in range(150):
        damaged = bytearray(octets)
        for _ in range(noise.randrange(1, 40)):
            damaged[noise.randrange(len(damaged))] = noise.randrange(256)
        path = tmp_path / f"{round}.db"
        path.write_bytes(damaged[:noise.randrange(len(damaged))] if round % 3 == 0 else damaged)
        try:
            table = open_table(f"{kind}:{tmp_path}/{round}", SOURCE)
            for number in range(0, 200, 20):
                table.lookup(f"key{number}")
                answers += 1
            answers += len(list(table.items()))
        except TableError:
            pass
    assert answers > 0


def test_other_kinds_of_database_are_refused(small: Path) -> None:
    octets = bytearray(small.read_bytes())
    for place, value in ((16, 7), (24, 1), (48, 2), (92, 0)):        # version, encryption, several databases, own hash
        changed = bytearray(octets)
        changed[place] = value
        small.write_bytes(changed)
        with pytest.raises(TableError, match=r"support|hash function"):
            open_file(str(small), (0, 0))
