"""The control file: what is one, who may write it, and how writers take turns."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest

from spikes.spiking import content, held, soon
from tracemw.spikes import ControlError, Spike, add_spike, control_file, read_spikes, remove_spikes
from tracemw.spikes.document import MOST_SPIKES

MALFORMED = {
    "{": "the file is not JSON",
    "[" * 60_000: "the file is not JSON",
    " " * 70_000: "the file is larger than 65536 bytes",
    "[]": 'the file does not say "version": 1',
    "{}": 'the file does not say "version": 1',
    '{"version": 2, "spikes": []}': 'the file does not say "version": 1',
    '{"version": 1}': 'the key "spikes" is missing',
    content(colour="red"): 'the key "colour" is unknown',
    content(spikes={}): '"spikes" is not a list',
    content(spikes=[1]): "1 is not a spike",
    content({"ratio": 1.0}): 'the key "until" is missing',
    content({"until": 1.0}): 'the key "ratio" is missing',
    content({"ratio": 1.0, "until": 1.0, "Path": "/a"}): 'the key "Path" is unknown',
    content({"ratio": 1.5, "until": 1.0}): "a number from 0 to 1",
    content({"ratio": 0, "until": 1.0}): "above 0 and at most 1",
    content({"ratio": True, "until": 1.0}): "a number from 0 to 1",
    content({"ratio": None, "until": 1.0}): "a number from 0 to 1",
    content({"ratio": "1.0", "until": 1.0}): '"ratio": "1.0" is not a number',
    content({"ratio": 1.0, "until": "soon"}): "a number of seconds since the epoch",
    content({"ratio": 1.0, "until": float("inf")}): "a number of seconds since the epoch",
    content({"ratio": 1.0, "until": 10**400}): "too large",
    content({"ratio": 1.0, "until": 1.0, "path": 7}): "a request pattern is a string",
    content({"ratio": 1.0, "until": 1.0, "path": "checkout"}): "'POST /checkout/*'",
    content({"ratio": 1.0, "until": 32503680000.0}): "more than 24 hours away",
    content(*[{"ratio": 1.0, "until": 4000000000.0}] * 21).replace("4000000000.0", "{soon}"): "more than 20 spikes",
}


@pytest.mark.parametrize(("text", "reason"), MALFORMED.items(), ids=[str(number) for number in range(len(MALFORMED))])
def test_what_is_no_control_file_says_why(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "control.json"
    file.write_text(text.replace("{soon}", str(soon())))
    with pytest.raises(ControlError) as caught:
        read_spikes(file)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; delete the file to start a new one, or name another")


def test_spikes_that_have_ended_are_left_out_and_no_file_or_an_empty_one_is_no_spike(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    assert read_spikes(file) == ()
    for nothing in ("", " \n"):
        file.write_text(nothing)
        assert read_spikes(file) == ()
    ends = soon()
    file.write_text(content({"ratio": 1, "until": 1.0}, {"ratio": 0.5, "path": "/a", "until": ends}))
    assert read_spikes(file) == (Spike(ratio=0.5, path="/a", until=ends),)


def test_the_file_is_readable_for_services_of_other_users_and_keeps_its_mode_and_its_links(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    add_spike(file, Spike(ratio=1.0, until=soon()))
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    file.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(file)
    remove_spikes(link)
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert read_spikes(file) == ()
    assert sorted(tmp_path.iterdir()) == [file, link]


def test_a_file_that_is_replaced_keeps_its_owner_and_group(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    file = tmp_path / "control.json"
    add_spike(file, Spike(ratio=1.0, until=soon()))
    os.chown(file, 12345, 23456)
    file.chmod(0o640)
    add_spike(file, Spike(ratio=0.5, path="/a", until=soon()))
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o640)


def test_a_new_file_can_be_read_by_services_of_other_users_whatever_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    before = os.umask(0o077)
    try:
        add_spike(file, Spike(ratio=1.0, until=soon()))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_folder_that_is_a_link_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    add_spike(tmp_path / "linked" / "control.json", Spike(ratio=0.5, until=soon()))
    assert [spike.ratio for spike in read_spikes(tmp_path / "real" / "control.json")] == [0.5]


def test_a_config_map_that_is_replaced_while_it_is_read_is_not_taken_for_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, ratio in (("..1", 0.5), ("..2", 1.0)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "control.json").write_text(content({"ratio": ratio, "until": soon()}))
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "control.json"
    file.symlink_to("..data/control.json")
    read = control_file._read

    def replaced_first(found: Path) -> bytes:
        if found.parent.name == "..1":
            (tmp_path / "..new").symlink_to("..2")
            (tmp_path / "..new").rename(tmp_path / "..data")
            found.unlink()
        return read(found)

    monkeypatch.setattr(control_file, "_read", replaced_first)
    assert [spike.ratio for spike in read_spikes(file)] == [1.0]


def test_a_control_file_takes_a_limited_number_of_spikes(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    for number in range(MOST_SPIKES):
        add_spike(file, Spike(ratio=1.0, path=f"/{number}", until=soon()))
    add_spike(file, Spike(ratio=0.5, path="/1", until=soon()))
    with pytest.raises(ControlError, match="20 spikes already"):
        add_spike(file, Spike(ratio=1.0, until=soon()))
    assert len(read_spikes(file)) == MOST_SPIKES


def test_threads_of_many_writers_lose_nothing_by_way_of_a_link_either(tmp_path: Path) -> None:
    file, link = tmp_path / "control.json", tmp_path / "link.json"
    link.symlink_to("control.json")
    writers = [
        threading.Thread(
            target=add_spike, args=((file, link)[number % 2], Spike(ratio=1.0, path=f"/{number}", until=soon()))
        )
        for number in range(16)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(read_spikes(file)) == 16


def test_where_a_folder_cannot_be_locked_a_file_beside_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, locked = fcntl.flock, []

    def as_nfs_has_it(handle: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        locked.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", as_nfs_has_it)
    file = tmp_path / "control.json"
    add_spike(file, Spike(ratio=1.0, until=soon()))
    assert locked == [str(tmp_path / ".control.json.lock")]
    assert len(read_spikes(file)) == 1


def test_where_nothing_can_be_locked_a_spike_begins_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    file = tmp_path / "control.json"
    add_spike(file, Spike(ratio=1.0, until=soon()))
    assert len(read_spikes(file)) == 1


def test_a_lock_that_somebody_does_not_let_go_of_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_file, "_LONGEST_TURN", 0.05)
    file = tmp_path / "control.json"
    lock = held(file)
    try:
        with pytest.raises(ControlError, match="another process has held the lock"):
            add_spike(file, Spike(ratio=1.0, until=soon()))
    finally:
        os.close(lock)
    add_spike(file, Spike(ratio=1.0, until=soon()))
