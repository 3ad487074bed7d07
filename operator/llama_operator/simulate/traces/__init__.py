"""Traces of requests: shapes that are drawn, and files of others that a user gives by path."""
