"""Builders of typed inputs for the decisions, as fixtures."""

import pytest

from support.deployments import deployment_of, observed_of, service_facts_of


@pytest.fixture(scope="session")
def deployment():
    return deployment_of


@pytest.fixture(scope="session")
def observed():
    return observed_of


@pytest.fixture(scope="session")
def service_facts():
    return service_facts_of
