"""An organisation that was made a moment ago is served at once."""

import httpx
from tests.api.server import ApiProcess, Owner
from tests.api.world import TOKEN, create_world, declaration, fresh_key, payout, refused


def test_a_new_organisation_is_served_by_a_process_that_runs_already(
    api: ApiProcess, owner: Owner, http: httpx.Client
) -> None:
    for _ in range(2):  # the second is made well within the second in which policies aren't read again
        organisation = create_world(api, owner, http)
        to = organisation.declared()
        answer = organisation.payer.post("/v1/payouts", payout(to), fresh_key())
        assert answer.status_code == 201, answer.text


def test_a_new_organisations_tokens_are_no_destination_from_the_first_request_on(
    api: ApiProcess, owner: Owner, http: httpx.Client
) -> None:
    create_world(api, owner, http).declared()
    organisation = create_world(api, owner, http)
    body = declaration(destination={"network": "eip155:31337", "address": TOKEN})
    refused(organisation.declarer.post("/v1/beneficiaries", body, fresh_key()), "address_forbidden",
            "destination.address")
