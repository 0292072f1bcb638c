"""Which versions of a remote an expression is true of, without bringing any of them here."""

from collections.abc import Iterable

from mvs.format.manifest import Manifest
from mvs.query.facts import matches
from mvs.query.tree import Expression
from mvs.store.cache.catalog.moving import Moving, facts
from mvs.store.remote.remote import Remote
from mvs.store.remote.state import State


def matching(remote: Remote, state: State, tags: Iterable[str], where: Expression) -> list[str]:
    """Return those of some tags, with the labels and aliases they have there, that an expression is true of.

    Raises:
        CorruptRemote, RemoteFailed: the log cannot be read.
    """
    given = dict.fromkeys(tags)
    aliases: dict[str, list[str]] = {}
    for alias, id in state.aliases.items():
        name, _, word = alias.partition("@")
        aliases.setdefault(f"{name}#{id}", []).append(word)
    found = set()
    for data in remote.log.manifests(state):
        manifest = Manifest.decode(data)
        tag = str(manifest.tag)
        if tag in given:
            pointing = aliases.get(f"{manifest.tag.name}#{state.versions[tag].id}", ())
            moving = Moving(tuple(sorted(pointing)), tuple(sorted(state.notes.get(tag, {}).items())))
            if matches(where, facts(manifest.said(), moving)):
                found.add(tag)
    return [tag for tag in given if tag in found]
