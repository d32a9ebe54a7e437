"""Tests of mailsuite.explain."""
