"""The whole store against a plain dict: any sequence of calls leaves what a dict would hold."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import mvs
from mvs.errors import NameNotFound, NeedsAll, TagExists, TagTaken, VersionNotFound
from mvs.format.names import Tag
from mvs.repository.workspace import write_setting

# `acme:bert` and `acme/bert` lie in one folder of refs.
NAMES = st.sampled_from(["acme", "acme/bert", "bert"])
VERSIONS = st.sampled_from(["bert", "v1", "v10"])
STAGES = st.sampled_from(["", "production"])
CONTENTS: dict[str, dict[str, bytes]] = {
    "one": {"weights.bin": b"1"},
    "two": {"weights.bin": b"2"},
    "many": {"weights.bin": b"1", "sub/vocab.txt": b"a\n", "sub/empty.txt": b""},
}
FOLDERS = st.sampled_from(sorted(CONTENTS))


@dataclass(frozen=True)
class Held:
    """What a tag means; `born` counts saves, so that the largest of a name is its latest."""

    content: str
    stage: str
    born: int


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        write_setting(mvs.init(self.root / "repo").root, "store.durable", "false")
        self.repo = mvs.open(self.root / "repo")
        for name, files in CONTENTS.items():
            write(self.root / name, files)
        self.live: dict[Tag, Held] = {}
        self.deleted: dict[Tag, Held] = {}
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @rule(name=NAMES, version=VERSIONS, content=FOLDERS, stage=STAGES, reuse=st.booleans())
    def save_given(self, name: str, version: str, content: str, stage: str, reuse: bool) -> None:
        tag = Tag(name, version)

        def save() -> mvs.Version:
            return self.repo.save(self.root / content, tag, labels=labels_of(stage), reuse_tag=reuse)

        refusal = self.refusal(tag, content, stage, reuse=reuse)
        if refusal:
            with pytest.raises(refusal, match=str(tag)):
                save()
        else:
            assert save().tag == tag
            self.live.setdefault(tag, self.next(content, stage))

    @rule(name=NAMES, content=FOLDERS, stage=STAGES)
    def save_generated(self, name: str, content: str, stage: str) -> None:
        version = self.repo.save(self.root / content, name, labels=labels_of(stage))
        assert version.tag not in self.live
        assert version.tag not in self.deleted
        self.live[version.tag] = self.next(content, stage)

    @rule(name=NAMES, content=FOLDERS)
    def save_if_changed(self, name: str, content: str) -> None:
        latest = self.newest_first(name)[:1]
        version = self.repo.save(self.root / content, name, if_changed=True)
        if latest and self.live[latest[0]].content == content:
            assert version.tag == latest[0]
        else:
            assert version.tag not in self.live
            self.live[version.tag] = self.next(content, "")

    @rule(name=NAMES, version=VERSIONS, content=FOLDERS)
    def move(self, name: str, version: str, content: str) -> None:
        tag = Tag(name, version)
        source = self.root / "moved"
        write(source, CONTENTS[content])
        refusal = self.refusal(tag, content, "")
        if refusal:
            with pytest.raises(refusal, match=str(tag)):
                self.repo.save(source, tag, move=True)
            assert read(source) == CONTENTS[content]
            shutil.rmtree(source)
        else:
            self.repo.save(source, tag, move=True)
            assert not source.exists()
            self.live.setdefault(tag, self.next(content, ""))

    @rule(name=NAMES, version=VERSIONS, content=FOLDERS, stage=STAGES)
    def create(self, name: str, version: str, content: str, stage: str) -> None:
        tag = Tag(name, version)
        if tag in self.live:
            with pytest.raises(TagExists, match=str(tag)):
                self.repo.create(tag)
        elif self.refusal(tag, content, stage):
            draft = self.repo.create(tag, labels=labels_of(stage))
            with pytest.raises(TagTaken, match=str(tag)) as failure, draft:
                write(draft.path, CONTENTS[content])
            assert failure.value.kept is not None
            assert read(failure.value.kept) == CONTENTS[content]
        else:
            with self.repo.create(tag) as draft:
                write(draft.path, CONTENTS[content])
                draft.labels.update(labels_of(stage))
            assert draft.version.tag == tag
            self.live[tag] = self.next(content, stage)

    @rule(name=NAMES, content=FOLDERS)
    def create_and_fail(self, name: str, content: str) -> None:
        with pytest.raises(ZeroDivisionError), self.repo.create(name) as draft:
            write_and_fail(draft.path, CONTENTS[content])

    @rule(name=NAMES, version=VERSIONS)
    def delete_version(self, name: str, version: str) -> None:
        tag = Tag(name, version)
        if tag in self.live:
            assert self.repo.delete(tag) == [tag]
            self.bury(tag)
        else:
            with pytest.raises(VersionNotFound if tag in self.deleted or self.newest_first(name) else NameNotFound):
                self.repo.delete(tag)

    @rule(name=NAMES)
    def delete_latest(self, name: str) -> None:
        if latest := self.newest_first(name)[:1]:
            assert self.repo.delete(f"{name}:latest") == latest
            self.bury(latest[0])
        else:
            with pytest.raises(NameNotFound):
                self.repo.delete(f"{name}:latest")

    @rule(name=NAMES)
    def delete_all(self, name: str) -> None:
        there = self.newest_first(name)
        if not there:
            return
        with pytest.raises(NeedsAll):
            self.repo.delete(name)
        assert self.repo.delete(name, all_versions=True) == there
        for tag in there:
            self.bury(tag)

    @precondition(lambda self: self.deleted)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.deleted)))
        if tag in self.live:
            with pytest.raises(TagExists):
                self.repo.restore(tag)
        else:
            assert self.repo.restore(tag).tag == tag
            self.live[tag] = self.deleted[tag]

    @rule(name=NAMES, version=VERSIONS)
    def restore_what_was_never_deleted(self, name: str, version: str) -> None:
        tag = Tag(name, version)
        if tag not in self.live and tag not in self.deleted:
            with pytest.raises(VersionNotFound):
                self.repo.restore(tag)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), link=st.booleans())
    def checkout(self, data: st.DataObject, link: bool) -> None:
        tag = data.draw(st.sampled_from(sorted(self.live)))
        dest = self.repo.checkout(tag, self.root / "dest", link=link)
        assert read(dest) == CONTENTS[self.live[tag].content]
        shutil.rmtree(dest)

    @invariant()
    def every_tag_means_its_bytes(self) -> None:
        for tag, held in self.live.items():
            version = self.repo.get(tag)
            assert {file.path: version.read_bytes(file.path) for file in version.files} == CONTENTS[held.content]
            assert version.labels == labels_of(held.stage)
        for tag in self.deleted.keys() - self.live.keys():
            with pytest.raises((VersionNotFound, NameNotFound)):
                self.repo.get(tag)

    @invariant()
    def latest_is_the_most_recently_saved_that_is_left(self) -> None:
        for name in {tag.name for tag in [*self.live, *self.deleted]}:
            tags = self.newest_first(name)
            if not tags:
                with pytest.raises(NameNotFound):
                    self.repo.get(name)
                continue
            assert self.repo.get(name).tag == tags[0]
            assert self.repo.get(f"{name}:latest~{len(tags) - 1}").tag == tags[-1]
            assert [version.tag for version in self.repo.list(name)] == tags
            assert [version.tag for version in self.repo.list(name, limit=2)] == tags[:2]

    @invariant()
    def lists_hold_every_version_once(self) -> None:
        assert sorted(version.tag for version in self.repo.list()) == sorted(self.live)
        labelled = {tag for tag, held in self.live.items() if held.stage}
        assert {version.tag for version in self.repo.list("*", labels={"stage": "production"})} == labelled

    @invariant()
    def nothing_stays_in_staging(self) -> None:
        assert list((self.repo.store / "staging").glob("*")) == []

    def next(self, content: str, stage: str) -> Held:
        self.count += 1
        return Held(content, stage, self.count)

    def refusal(self, tag: Tag, content: str, stage: str, *, reuse: bool = False) -> type[TagExists] | None:
        if there := self.live.get(tag):
            return None if (there.content, there.stage) == (content, stage) else TagExists
        deleted = self.deleted.get(tag)
        other = deleted and (deleted.content, deleted.stage) != (content, stage)
        return TagTaken if other and not reuse else None

    def bury(self, tag: Tag) -> None:
        self.deleted[tag] = self.live.pop(tag)

    def newest_first(self, name: str) -> list[Tag]:
        return sorted((tag for tag in self.live if tag.name == name), key=lambda tag: -self.live[tag].born)


def labels_of(stage: str) -> dict[str, str]:
    return {"stage": stage} if stage else {}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def write_and_fail(folder: Path, files: dict[str, bytes]) -> None:
    write(folder, files)
    raise ZeroDivisionError


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_any_sequence_of_calls_leaves_what_a_dict_would_hold() -> None:
    run(examples=20, steps=30)


@pytest.mark.deep
def test_any_long_sequence_of_calls_leaves_what_a_dict_would_hold() -> None:
    run(examples=500, steps=100)
