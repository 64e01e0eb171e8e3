"""`marquee topics`: the topics of the log, and a procedure to give one more partitions while all else works."""

from __future__ import annotations

from typing import Annotated

import typer

topics_app = typer.Typer(name="topics", no_args_is_help=True, help="Topics of the log: list, describe, grow.")

Topic = Annotated[str, typer.Argument(help="The topic's name.", show_default=False)]


@topics_app.command("list")
def list_topics() -> None:
    """List the platform's topics: partitions, records kept, epoch."""
    from streams import topics
    from streams.cli import open_log

    with open_log() as log:
        for topic in topics.ALL:
            count = log.partition_count(topic)
            records = sum(log.end_offset(topic, n) - log.start_offset(topic, n) for n in range(count))
            typer.echo(f"{topic:<14}  {count:>4} partitions  {records:>12,} records  epoch {log.epoch(topic)}")


@topics_app.command("describe")
def describe_topic(topic: Topic) -> None:
    """Show a topic's epochs, and of each partition what it holds and how far each group has committed."""
    from streams.agents.feature_agent import FeatureAgent
    from streams.agents.shown_agent import ShownAgent
    from streams.agents.warehouse_sink import WarehouseSink
    from streams.cli import open_log
    from streams.event_log.protocol import TopicPartition

    with open_log() as log:
        for one in log.epochs(topic):
            starts = ", ".join(f"{start:,}" for start in one.starts)
            typer.echo(f"epoch {one.epoch}: {one.partitions} partitions, from offsets {starts}")
        groups = [agent.name for agent in (FeatureAgent, ShownAgent, WarehouseSink) if topic in agent.topics]
        for partition in range(log.partition_count(topic)):
            commits = (f"{group} {log.committed(group, TopicPartition(topic, partition)) or 0:,}" for group in groups)
            bounds = f"{log.start_offset(topic, partition):,} to {log.end_offset(topic, partition):,}"
            typer.echo(f"{topic}/{partition}: records {bounds}; committed: {', '.join(commits) or 'no group'}")


@topics_app.command("grow")
def grow_topic(
    topic: Topic,
    partitions: Annotated[int, typer.Option(help="How many it is to have.", min=1, max=1024)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give a topic more partitions. Producers, agents and serving go on meanwhile; there is no way back."""
    from streams.cli import open_log
    from streams.errors import FixRequest

    with open_log() as log:
        count = log.partition_count(topic)
        if partitions == count:
            typer.echo(f"{topic} has {count} partitions already")
            return
        if partitions < count:
            raise FixRequest("--partitions", f"{topic} has {count}; a topic never has fewer than it had")
        if not yes:
            question = f"Give {topic} {partitions} partitions instead of {count}? It can never have fewer again."
            typer.confirm(question, abort=True)
        log.grow_topic(topic, partitions)
        newest = log.epochs(topic)[-1]
    ends = ", ".join(f"{topic}/{n} at {start:,}" for n, start in enumerate(newest.starts[:count]))
    typer.echo(f"{topic} has {newest.partitions} partitions; epoch {newest.epoch} begins at: {ends}")
    typer.echo("Agents fold what is before these offsets in every partition, then what comes after; restart nothing.")
    typer.echo(f"Set MARQUEE_PARTITIONS={partitions} for the day on which the log has to be made anew.")
