"""Scheduled tasks for Datasette."""
