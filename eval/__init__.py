"""Metrics, statistics, reports and reproduction."""
