"""Which repository is meant, and what its configuration says."""

import os
import sys
from pathlib import Path

import pytest

from mvs.errors import InvalidConfig, NotARepository
from mvs.repository import workspace
from mvs.repository.workspace import Workspace, find, home, make, setting, write_setting


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """The control folder of a repository."""
    make(tmp_path / "repo" / ".mvs", store=None)
    return tmp_path / "repo" / ".mvs"


def test_the_nearest_control_folder_upward_is_found(control: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = control.parent / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert find(None) == find(inner) == find("..") == control
    make(control.parent / "a" / ".mvs", store=None)
    assert find(None) == control.parent / "a" / ".mvs"


def test_the_home_stands_in_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(None) == home() == tmp_path / "home"


def test_a_path_in_no_repository_is_refused(tmp_path: Path) -> None:
    """Whoever names a place does not mean another one."""
    with pytest.raises(NotARepository, match="is in no repository") as caught:
        find(tmp_path)
    assert caught.value.hint == f"mvs init {tmp_path}"


def test_a_file_called_mvs_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To go on looking would save into another repository than the one that is meant."""
    (tmp_path / ".mvs").write_text("x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotARepository, match="is no folder"):
        find(None)


def test_a_removed_working_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(NotARepository, match="removed"):
        find(None)


def test_the_home_may_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVS_HOME", "~/models")
    assert home() == tmp_path / "models"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the XDG folders")
@pytest.mark.parametrize("named", [None, ""])
def test_without_a_home_the_data_folder_of_the_user_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    monkeypatch.delenv("MVS_HOME")
    if named is not None:
        monkeypatch.setenv("MVS_HOME", named)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert home() == tmp_path / ".local" / "share" / "mvs"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert home() == tmp_path / "xdg" / "mvs"


def test_settings_have_defaults(control: Path) -> None:
    space = Workspace.read(control)
    assert space.store == control
    assert space.durable is True
    assert setting(space, "store.durable") is True
    assert setting(space, "store.path") == ""


def test_what_is_set_is_read(control: Path, tmp_path: Path) -> None:
    write_setting(control, "store.durable", "False")
    write_setting(control, "store.path", str(tmp_path / "shared"))
    space = Workspace.read(control)
    assert space.durable is False
    assert space.store == tmp_path / "shared"


@pytest.mark.parametrize(("text", "place"), [("../../shared", "shared"), ("~/shared", "shared"), (".", "repo/.mvs")])
def test_the_store_is_relative_to_the_configuration(control: Path, tmp_path: Path, text: str, place: str) -> None:
    write_setting(control, "store.path", text)
    assert Workspace.read(control).store == tmp_path / place


def test_comments_and_order_survive_a_change(control: Path) -> None:
    (control / "config.toml").write_text('# ours\n[store]\n# why\npath = "x" # here\n\ndurable = true\n')
    write_setting(control, "store.durable", "false")
    assert (control / "config.toml").read_text() == '# ours\n[store]\n# why\npath = "x" # here\n\ndurable = false\n'
    assert sorted(os.listdir(control)) == [".gitignore", "config.toml"]


@pytest.mark.parametrize(
    ("key", "text"),
    [("store.durable", "maybe"), ("store.durable", ""), ("store.durable", "1"), ("store.nothing", "x"), ("store", "x")],
)
def test_what_is_no_setting_or_no_value_for_it_is_refused(control: Path, key: str, text: str) -> None:
    with pytest.raises(InvalidConfig, match=key):
        write_setting(control, key, text)
    assert not (control / "config.toml").exists()


@pytest.mark.parametrize(
    "text",
    [
        "[store\n",
        '[store]\ndurable = "yes"\n',
        "[store]\npath = 5\n",
        "[store]\nunknown = 5\n",
        "path = 'x'\n",
        "store = 'x'\n",
        "[other]\nx = 1\n",
        "[store.deep]\nx = 1\n",
    ],
)
def test_a_configuration_that_is_not_understood_is_refused(control: Path, text: str) -> None:
    """A misspelt `durable = false` that is passed over is found out in a power cut."""
    (control / "config.toml").write_text(text)
    with pytest.raises(InvalidConfig):
        Workspace.read(control)
    with pytest.raises(InvalidConfig):
        write_setting(control, "store.durable", "true")
    assert (control / "config.toml").read_text() == text


def test_a_configuration_that_is_not_text_is_refused(control: Path) -> None:
    (control / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfig, match=r"config\.toml"):
        Workspace.read(control)


def test_git_is_told_to_keep_the_configuration_only(control: Path) -> None:
    assert (control / ".gitignore").read_text().splitlines() == ["/*", "!/.gitignore", "!/config.toml", "!/hooks/"]


def test_the_actor_is_the_user_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "machine")
    assert workspace.actor() == "tester@machine"
    monkeypatch.delenv("LOGNAME")
    monkeypatch.setenv("USER", "other")
    assert workspace.actor() == "other@machine"
    monkeypatch.delenv("USER")
    assert workspace.actor().endswith("@machine")
