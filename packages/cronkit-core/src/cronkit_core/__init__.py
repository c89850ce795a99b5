"""A durable, exact, multi-process-safe scheduler for asyncio."""
