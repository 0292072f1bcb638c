"""Verbs that set things up: init, config, completion."""

import click

from mvs.cli import render
from mvs.cli.main import main
from mvs.cli.verb import Verb, json_option, place_options
from mvs.repository import opening, workspace
from mvs.repository.workspace import SETTINGS, Workspace

# click's own script trusts bash to leave words whole; bash cuts them at ':' and '@', and a spec is one word.
_BASH = """%(complete_func)s() {
    local IFS=$'\\n' line="${COMP_LINE:0:$COMP_POINT}" cut="" type value
    local words; IFS=' ' read -ra words <<< "$line"
    [[ "$line" == *" " ]] && words+=("")
    local current="${words[-1]}"
    [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]] && cut="${current%%:*}:"
    [[ "$current" == *@* && "$COMP_WORDBREAKS" == *@* ]] && cut="${current%%@*}"
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$cut"}") ;;
        esac
    done < <(COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@click.command(cls=Verb)
@click.argument("directory", default=".")
@click.option("--store", metavar="PATH|URL", help="Keep versions there, where many repositories may")
@place_options
@json_option
def init(
    directory: str,
    store: str | None,
    single_writer: bool,
    endpoint: str | None,
    region: str | None,
    path_style: bool | None,
    timeout: int | None,
    as_json: bool,
) -> None:
    """Make DIRECTORY a repository

    A store at a URL, such as s3://bucket/prefix, is one that `mvs remote add` takes; here is what was read of it.
    """
    repo = opening.init(
        directory,
        store=store,
        single_writer=single_writer,
        endpoint=endpoint,
        region=region,
        path_style=path_style,
        timeout=timeout,
    )
    kept = repo.remotes[opening.STORE]["url"] if store and "://" in store else str(repo.store)
    render.told({"path": str(repo.root), "store": kept}, str(repo.root), json_wanted=as_json)


@click.group(short_help="Read and change settings")
def config() -> None:
    """Read and change the settings of this repository"""


@config.command("get", cls=Verb)
@click.argument("key")
def config_get(key: str) -> None:
    """Print one setting"""
    click.echo(_text(workspace.setting(_workspace(), key)))


@config.command("set", cls=Verb)
@click.argument("key")
@click.argument("value")
def config_set(key: str, value: str) -> None:
    """Change one setting"""
    workspace.write_setting(workspace.find(None), key, value)


@config.command("list", cls=Verb)
@json_option
def config_list(as_json: bool) -> None:
    """Print every setting"""
    space = _workspace()
    values = {key: workspace.setting(space, key) for key in SETTINGS}
    if as_json:
        render.as_json(values)
    else:
        render.table(
            ("KEY", "VALUE", "MEANING"), [(key, _text(value), SETTINGS[key][2]) for key, value in values.items()]
        )


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell, to be evaluated by it"""
    from click.shell_completion import BashComplete, get_completion_class  # noqa: PLC0415 - only here

    class TagBashComplete(BashComplete):
        source_template = _BASH

    found = TagBashComplete if shell == "bash" else get_completion_class(shell)
    assert found is not None
    click.echo(found(main, {}, "mvs", "_MVS_COMPLETE").source())


def _workspace() -> Workspace:
    return Workspace.read(workspace.find(None))


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
