"""The command `glasshouse`. The module of a subcommand is imported only when the subcommand is used."""

import importlib
import io
import sys

import click

# the namespace if `--kubernetes` has no value
NAMESPACE = "glasshouse"

# name → "module:command"
COMMANDS: dict[str, str] = {
    "up": "lab.stack.up:up",
    "down": "lab.stack.up:down",
    "doctor": "lab.stack.doctor:doctor",
    "look": "lab.stack.look:look",
    "status": "lab.stack.faults:status",
    "stop": "lab.stack.faults:stop",
    "start": "lab.stack.faults:start",
    "restart": "lab.stack.faults:restart",
    "pause": "lab.stack.faults:pause",
    "resume": "lab.stack.faults:resume",
    "kill": "lab.stack.faults:kill",
    "view": "lab.viewer.command:view",
    "alerts": "lab.alerts.command:alerts",
    "reload": "lab.alerts.reload:reload",
    "tune": "lab.alerts.tuning.command:tune",
    "record": "lab.alerts.tuning.record:record",
    "drill": "lab.alerts.drills.command:drill",
    "desk": "lab.desk.command:desk",
    "check": "lab.check:check",
    "tracestore": "lab.tracestore.command:tracestore",
    "load": "lab.loadtest.command:load",
    "worker": "lab.loadtest.command:worker",
    "report": "lab.report.command:report",
    "runs": "lab.report.command:runs",
}


# the commands that support `--kubernetes`, each with the parts whose ports are forwarded while it runs
ON_KUBERNETES: dict[str, tuple[str, ...]] = {
    "status": (),
    **dict.fromkeys(("stop", "start", "restart", "kill", "pause", "resume"), ("desk",)),
    "check": ("prometheus", "tempo", "loki"),
    "alerts": ("prometheus", "alertmanager", "desk"),
    "reload": ("prometheus", "desk"),
    "load": ("gateway", "prometheus", "desk"),
    "drill": ("gateway", "prometheus", "alertmanager", "desk"),
}


class LazyGroup(click.Group):
    """A click group that imports a subcommand's module when the subcommand is used."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads `--kubernetes COMMAND` as `--kubernetes=glasshouse COMMAND`."""
        args = [
            f"{each}={NAMESPACE}" if each == "--kubernetes" and (after in COMMANDS or after.startswith("-")) else each
            for each, after in zip(args, [*args[1:], "-"], strict=False)
        ]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all subcommands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="glasshouse")
@click.option(
    "--kubernetes",
    metavar="[NAMESPACE]",
    help=f"The stack that runs on Kubernetes, in this namespace ({NAMESPACE}). For {', '.join(ON_KUBERNETES)}.",
)
@click.pass_context
def main(ctx: click.Context, kubernetes: str | None) -> None:
    """Start the Glasshouse stack, load it, watch it, break it and report on it."""
    for stream in (sys.stdout, sys.stderr):
        # characters that the terminal's encoding does not have are replaced by a question mark
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if kubernetes is None:
        return
    name = str(ctx.invoked_subcommand)
    if name not in ON_KUBERNETES:
        raise click.UsageError(f"--kubernetes works with {', '.join(ON_KUBERNETES)}, but not with {name}")
    from lab.stack.kubernetes import chosen  # noqa: PLC0415
    from lab.stack.native import StackError  # noqa: PLC0415

    try:
        ctx.with_resource(chosen(kubernetes, ON_KUBERNETES[name]))
    except StackError as error:
        click.echo(f"{name}: {error}", err=True)
        ctx.exit(2)
