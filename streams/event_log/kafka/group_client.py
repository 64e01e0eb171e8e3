"""aiokafka's consumer, which stops whole also while it leaves its group of its own accord."""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer


class GroupClient(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no types
    """A member of a group. One that is not polled for too long leaves it; a stop cancels that, if it is under way."""

    async def stop(self) -> None:
        """Leave the group and close every connection.

        The cancelled leaving comes back from aiokafka as if the stop itself had been cancelled, with half of the client
        still open: that half is closed, and the cancellation goes no further unless it was meant for the caller.
        """
        try:
            await super().stop()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            cancelled = task is None or task.cancelling() > 0
            await self._stop_rest(leave=not cancelled)
            if cancelled:
                raise

    async def _stop_rest(self, *, leave: bool) -> None:
        if self._coordinator is not None:
            for stop_task in (
                self._coordinator._stop_heartbeat_task,
                self._coordinator._stop_commit_offsets_refresh_task,
            ):
                with contextlib.suppress(asyncio.CancelledError):
                    await stop_task()
            if leave:  # again: what was cancelled may not have been sent
                await self._coordinator._maybe_leave_group()
        if self._fetcher is not None:
            await self._fetcher.close()
        await self._client.close()
