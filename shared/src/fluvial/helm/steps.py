"""What an action has done last, and what its hooks have written: for whoever tells of a failure.

The controller makes an ``ActionLog`` for each action, gives it to ``Lifecycle`` or ``Ending`` and
reads it when the action has ended, well or not:

    log = ActionLog(target)
    try:
        await Lifecycle(target, storage, waits, log=log).upgrade(...)
    except ActionFailed as error:
        events.event(obj, type="Warning", reason=..., message=log.after(str(error)))

Steps name objects and never what is in them. What containers have written is another matter: it
is masked as far as secrets are known, and nobody knows all of them. So ``outputs`` belong in
events of the object that stay in the cluster (severity trace: not posted to anybody), and never
in a condition, a record, an error or the controller's own log.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from fluvial.apply.model import Target
from fluvial.clock import format_time

__all__ = ["ActionLog", "HookOutput"]

_STEPS: Final = 10
_LONGEST_STEP: Final = 300
_OUTPUTS: Final = 10


@dataclass(frozen=True, slots=True)
class HookOutput:
    """The end of what one container of a hook has written.

    Attributes:
        hook: the hook's template, with its event: ``pre-install hook chart/templates/x.yaml``.
        pod: its name.
        container: its name.
        text: masked, in whole lines; ``""`` where there is none.
        problem: why it could not be had, ``""`` where it could.

    """

    hook: str
    pod: str
    container: str
    text: str = field(repr=False)
    problem: str = ""

    def __str__(self) -> str:
        """A heading, and the text or the problem below it."""
        return f"{self.hook}, pod {self.pod}, container {self.container}:\n" + (
            f"(not to be had: {self.problem})" if self.problem else self.text or "(nothing)"
        )


@dataclass(slots=True)
class _Step:
    at: datetime
    text: str
    repeated: int = 0

    def __str__(self) -> str:
        again = f"\n{format_time(self.at)} ({self.repeated} duplicate line(s) omitted)"
        return f"{format_time(self.at)} {self.text}" + (again if self.repeated else "")


class ActionLog:
    """The last ten steps of an action, equal ones in a row told once, and outputs of its hooks.

    Args:
        target: of the action: its clock, and what hides secrets, also where they are in names.

    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._steps: deque[_Step] = deque(maxlen=_STEPS)
        self._outputs: list[HookOutput] = []

    def add(self, text: str) -> None:
        """Take note of a step; what the actions call."""
        shown = self._target.masker.text(text)[:_LONGEST_STEP]
        now = self._target.clock.now()
        if self._steps and self._steps[-1].text == shown:
            last = self._steps[-1]
            last.at, last.repeated = now, last.repeated + 1
            return
        self._steps.append(_Step(now, shown))

    def keep(self, output: HookOutput) -> None:
        """Take note of what a container has written; what the actions call."""
        if len(self._outputs) < _OUTPUTS:
            self._outputs.append(output)

    @property
    def outputs(self) -> tuple[HookOutput, ...]:
        """What hooks have written, as their annotation or a failed test asks for it."""
        return tuple(self._outputs)

    def __str__(self) -> str:
        """The steps, a line each with its time."""
        return "\n".join(str(step) for step in self._steps)

    def after(self, message: str) -> str:
        """A message of failure with the steps below it (Flux: ``Last Helm logs``)."""
        return f"{message}\n\nLast Helm logs:\n\n{self}" if self._steps else message
