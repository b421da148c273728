"""What a person at a terminal sees of training: its progress, and a table of scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from training.config import PPOConfig
from training.evaluator import Score
from training.ppo import UpdateMetrics

PERCENT = ("total_return", "annual_return", "max_drawdown", "win_rate", "exposure")


class UpdateProgress:
    """Shows each update as it comes: steps of all, the episodes' mean return, entropy, speed."""

    def __init__(self, bar: Progress, total: int) -> None:
        self.bar, self.task = bar, bar.add_task("training", total=total, told="")

    def __call__(self, metrics: UpdateMetrics) -> None:
        """Show one update."""
        learned = f"return {metrics.mean_episode_return:+.2f}  entropy {metrics.entropy:.2f}"
        told = f"{learned}  {metrics.steps_per_second:,.0f}/s"
        self.bar.update(self.task, completed=metrics.global_step, told=told)


@contextmanager
def progress(console: Console, config: PPOConfig) -> Iterator[UpdateProgress]:
    """A progress bar over the config's updates."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[told]}"), console=console) as bar:
        yield UpdateProgress(bar, config.num_updates * config.batch_size)


def score_table(scores: Mapping[str, Score], title: str) -> Table:
    """A column for each label; shares in percent, what has no meaning as a dash."""
    table = Table("", title=title)
    for label in scores:
        table.add_column(label, justify="right")
    columns = [one.to_dict() for one in scores.values()]
    for name in Score.__dataclass_fields__:
        table.add_row(name.replace("_", " "), *(_cell(name, numbers[name]) for numbers in columns))
    return table


def _cell(name: str, number: float) -> str:
    if math.isnan(number):
        return "-"
    return f"{number:.1%}" if name in PERCENT else f"{number:.2f}".removesuffix(".00")
