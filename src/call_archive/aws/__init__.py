"""Adapters: the AWS services, each with one translation of its failures."""
