"""`make demo`: the main job on real input, one command after the other.

Without an argument a small network is trained here, and three versions of it are saved.
With a path that folder (or file) is saved and checked out; it is only read.
Everything lies in .demo/ and is made afresh by every run.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from blake3 import blake3

import mvs

if TYPE_CHECKING:
    import numpy as np

    Weights = dict[str, "np.ndarray[Any, np.dtype[np.float64]]"]

PLACE = Path(__file__).resolve().parent.parent / ".demo"
ARMS = 3


class Stop(Exception):
    """The demo cannot go on; the reason has been said or is the text of this."""


def main(arguments: list[str], place: Path = PLACE) -> int:
    """Run the demo in `place` and return its exit code."""
    began = time.monotonic()
    try:
        given = [argument for argument in arguments if argument]
        model = find(given, place)
        if place.exists():
            make_removable(place)
            shutil.rmtree(place)
        place.mkdir(parents=True)
        say(f"Everything happens in {place}")
        run(place, "init")
        repo = mvs.open(place)
        if model is None:
            demo_of_training(repo, place)
        else:
            demo_of_folder(repo, place, model)
    except (Stop, mvs.MvsError) as error:
        if str(error):
            click.secho(f"error: {error}", fg="red", err=True)
        return 1
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130
    say(f"Done in {time.monotonic() - began:.1f} s. Look around with: cd {shlex.quote(str(place))}")
    return 0


def find(arguments: list[str], place: Path) -> Path | None:
    """Return the user's path, None where there is none to use."""
    if not arguments:
        return None
    if len(arguments) > 1:
        raise Stop(f"one path, not {len(arguments)}: quote it when it holds spaces")
    model = Path(arguments[0]).expanduser().absolute()
    if not model.exists():
        raise Stop(f"'{model}' does not exist; try: make demo MODEL=path/to/a/model/folder")
    if place.resolve() in (model.resolve(), *model.resolve().parents):
        raise Stop(f"'{model}' lies in '{place}', which every demo makes afresh; copy it elsewhere first")
    return model


def demo_of_training(repo: mvs.Repository, place: Path) -> None:
    """Train, save three versions, find them again, check out, verify, delete, restore."""
    points, classes = spirals(seed=1)
    unseen, unseen_classes = spirals(seed=2)

    say("Train a small network for a moment, and save it from the command line")
    weights = train(start(), points, classes, steps=60)
    score = accuracy(weights, unseen, unseen_classes)
    write(place / "out", weights)
    run(place, "save", "out", "spirals:v1", "-l", "stage=candidate", "--meta", f"accuracy={score}", "-m", "first try")

    say("Train on, and save the next one from Python: what is written into draft.path becomes the version")
    weights = train(weights, points, classes, steps=240)
    show_code(
        'with repo.create("spirals:v2", labels={"stage": "candidate"}, parents=["spirals:v1"]) as draft:',
        "    write(draft.path, weights)",
        '    draft.metadata["accuracy"] = accuracy(weights, *unseen)',
    )
    with repo.create("spirals:v2", labels={"stage": "candidate"}, parents=["spirals:v1"]) as draft:
        write(draft.path, weights)
        draft.metadata["accuracy"] = accuracy(weights, unseen, unseen_classes)
    click.echo(f"saved {draft.version}, id {draft.version.id[:12]}")

    say("Train it well, and let mvs choose the version: time and content")
    weights = train(weights, points, classes, steps=900)
    score = accuracy(weights, unseen, unseen_classes)
    write(place / "out", weights)
    best = run(
        place, "save", "out", "spirals", "-l", "stage=production", "--meta", f"accuracy={score}", "-p", "spirals:latest"
    ).strip()

    say("Which are there? Which one is in production? What is the latest?")
    run(place, "list")
    run(place, "list", "spirals", "-l", "stage=production")
    run(place, "show", "spirals:latest")

    say("Use the latest: its folder, read-only, and nothing was copied to make it")
    folder = Path(run(place, "path", "spirals").strip())
    expect(accuracy(read(folder), unseen, unseen_classes) == score, "the stored network answers as the trained one")

    say("A tag never comes to mean something else")
    refused = run(place, "save", "out", "spirals:v1", code=mvs.errors.TagExists.exit_code)
    expect(refused == "", "refused, and spirals:v1 is what it was")

    say("Check a version out to a folder of your own, and verify it")
    run(place, "checkout", "spirals:v2", "serving")
    verify(place / "serving", repo.get("spirals:v2"))

    say("Delete the latest: `latest` moves back. Restore it: it is the latest again")
    run(place, "delete", "spirals:latest", "-y")
    expect(str(repo.get("spirals").tag) == "spirals:v2", "spirals:latest is spirals:v2")
    run(place, "restore", best)
    expect(str(repo.get("spirals").tag) == best, f"spirals:latest is {best}")
    run(place, "log", "spirals")


def demo_of_folder(repo: mvs.Repository, place: Path, model: Path) -> None:
    """Save what the user has, list it, check it out, and compare."""
    name = re.sub(r"[^a-z0-9]+", "-", model.name.lower()).strip("-")[:63].strip("-") or "model"
    say(f"Save {model}; it is only read")
    tag = run(place, "save", str(model), f"{name}:v1", "-l", "from=demo", "-m", "my own model").strip()

    say("Save it again: the store has it already, not a byte of the files is written again")
    run(place, "save", str(model), name)
    run(place, "list")
    run(place, "show", tag)

    say("Check it out, and verify every file")
    run(place, "checkout", tag, "checkout")
    verify(place / "checkout", repo.get(tag))
    expect(model_is(model, repo.get(tag)), f"{model} holds the same bytes")


def run(place: Path, *words: str, code: int = 0) -> str:
    """Show a command of mvs, run it in `place`, and return what it printed."""
    click.secho(f"$ mvs {shlex.join(words)}", fg="cyan")
    command = [sys.executable, "-m", "mvs", *words]
    done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, text=True, check=False)
    click.echo(done.stdout, nl=False)
    if done.returncode != code:
        raise Stop("" if done.returncode else f"mvs {words[0]} was to fail with {code}")
    return done.stdout


def verify(folder: Path, version: mvs.Version) -> None:
    """Compare a checked-out folder with the manifest: every file, every byte, nothing else."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    expect(found == {file.path for file in version.files}, "the files that the manifest lists, and no others")
    for file in version.files[:8]:
        click.echo(f"  {b3sum(folder / file.path)[:16]}…  {file.path}")
    if len(version.files) > 8:
        click.echo(f"  … and {len(version.files) - 8} more")
    same = all(b3sum(folder / file.path) == file.blob for file in version.files)
    expect(same, "BLAKE3 of every file is its id in the manifest; `b3sum` prints the same")


def model_is(model: Path, version: mvs.Version) -> bool:
    """Tell whether the user's folder or file still holds what the version holds."""
    places = {file.path: model if model.is_file() else model / file.path for file in version.files}
    return all(b3sum(places[file.path]) == file.blob for file in version.files)


def b3sum(path: Path) -> str:
    """Return the BLAKE3 of a file, as `b3sum` prints it."""
    hasher = blake3()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def expect(true: bool, what: str) -> None:
    """Say that a promise was kept, or stop."""
    if not true:
        raise Stop(f"not so: {what}")
    click.echo(click.style("✓ ", fg="green") + what)


def say(text: str) -> None:
    """Begin a step."""
    click.echo()
    click.secho(text, bold=True)


def show_code(*lines: str) -> None:
    """Show the Python that runs next."""
    for line, prompt in zip(lines, [">>>", *["..."] * len(lines)], strict=False):
        click.secho(f"{prompt} {line}", fg="cyan")


def make_removable(folder: Path) -> None:
    """Give back the rights that read-only views lack."""
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o755)


def spirals(*, seed: int) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Return points (900, 2) on the arms of a spiral, with some noise, and the arm (900,) of each."""
    import numpy as np

    random = np.random.default_rng(seed)
    classes = np.repeat(np.arange(ARMS), 300)
    radius = np.tile(np.linspace(0.05, 1, 300), ARMS)
    angle = radius * 5 + classes * 2 * np.pi / ARMS + random.normal(0, 0.25, classes.size)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), classes


def start() -> "Weights":
    """Return an untrained network: 2 inputs, 64 hidden units, one output for each arm."""
    import numpy as np

    random = np.random.default_rng(0)
    return {
        "hidden.weight": random.normal(0, 1.5, (2, 64)),
        "hidden.bias": random.normal(0, 0.5, 64),
        "out.weight": random.normal(0, 0.1, (64, ARMS)),
        "out.bias": np.zeros(ARMS),
    }


def train(weights: "Weights", points: Any, classes: Any, *, steps: int) -> "Weights":
    """Return the network after some steps of Adam (https://arxiv.org/abs/1412.6980) on the cross entropy."""
    import numpy as np

    weights = dict(weights)
    mean = {key: np.zeros_like(value) for key, value in weights.items()}
    square = {key: np.zeros_like(value) for key, value in weights.items()}
    wanted = np.eye(ARMS)[classes]
    for step in range(1, steps + 1):
        hidden = np.tanh(points @ weights["hidden.weight"] + weights["hidden.bias"])
        scores = hidden @ weights["out.weight"] + weights["out.bias"]
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = (likely / likely.sum(axis=1, keepdims=True) - wanted) / len(points)
        back = error @ weights["out.weight"].T * (1 - hidden**2)
        slopes = {
            "hidden.weight": points.T @ back,
            "hidden.bias": back.sum(axis=0),
            "out.weight": hidden.T @ error,
            "out.bias": error.sum(axis=0),
        }
        for key, slope in slopes.items():
            mean[key] = 0.9 * mean[key] + 0.1 * slope
            square[key] = 0.999 * square[key] + 0.001 * slope**2
            move = mean[key] / (1 - 0.9**step) / (np.sqrt(square[key] / (1 - 0.999**step)) + 1e-8)
            weights[key] = weights[key] - 0.01 * move
    return weights


def accuracy(weights: "Weights", points: Any, classes: Any) -> float:
    """Return the share of points whose arm the network tells."""
    import numpy as np

    hidden = np.tanh(points @ weights["hidden.weight"] + weights["hidden.bias"])
    told = (hidden @ weights["out.weight"] + weights["out.bias"]).argmax(axis=1)
    return round(float((told == classes).mean()), 4)


def write(folder: Path, weights: "Weights") -> None:
    """Write a network as a model folder: weights and configuration."""
    import numpy as np

    folder.mkdir(exist_ok=True)
    np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
    shapes = {key: list(value.shape) for key, value in weights.items()}
    (folder / "config.json").write_text(json.dumps({"activation": "tanh", "shapes": shapes}, indent=2) + "\n")


def read(folder: Path) -> "Weights":
    """Read a network back."""
    import numpy as np

    with np.load(folder / "weights.npz") as file:
        return dict(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
