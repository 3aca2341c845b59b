"""The command `glasshouse`. Each subcommand lives in a module of its own and is imported only when it is asked for."""

import importlib

import click

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


class LazyGroup(click.Group):
    """A click group that imports a subcommand's module when the subcommand is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all subcommands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name, None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="glasshouse")
def main() -> None:
    """Start the Glasshouse stack, load it, watch it, break it and report on it."""
