"""Arguments of `kubectl llama key` and its actions. Called by `cli.verbs`; imports argparse only."""

import argparse

from llama_operator.cli.shared.arguments import Commands, add_cluster, add_command, add_group, add_output

_EXAMPLES = """\
examples:
  kubectl llama key create chat-70b --tenant acme          a key, which is shown once
  kubectl llama key list chat-70b                          the keys with their ends, the soonest first
  kubectl llama key rotate chat-70b abcdefghijklmnop       another key in place of an older one
  kubectl llama key revoke chat-70b abcdefghijklmnop       a key that shall not be served any more

"""
_CREATE_EXAMPLES = """\
examples:
  kubectl llama key create chat-70b --tenant acme                  for all models of the endpoint, without an end
  kubectl llama key create chat-70b --tenant acme --expires 90d --note 'batch jobs of Jo'
  kubectl llama key create chat-70b --tenant acme --models llama-3.3-70b-instruct --expires 2027-01-31
  kubectl llama key create chat-70b --tenant acme -q               only the key, for a script
  kubectl llama key create chat-70b --tenant acme -o json          the same with its id, for programs

The key is shown once. What is kept is a hash, in the ConfigMap or Secret that spec.access.keys names.

"""
_LIST_EXAMPLES = """\
examples:
  kubectl llama key list chat-70b                                  all keys, those that end first at the top
  kubectl llama key list chat-70b --tenant acme                    those of one tenant
  kubectl llama key list chat-70b -o json                          the same for programs

"""
_ROTATE_EXAMPLES = """\
examples:
  kubectl llama key rotate chat-70b abcdefghijklmnop               the older key is served for 24 hours more
  kubectl llama key rotate chat-70b abcdefghijklmnop --overlap 14d
  kubectl llama key rotate chat-70b abcdefghijklmnop --overlap 0   the older key ends at once

The new key has the tenant, the models and the note of the older one, and lasts as long as that was made for.

"""
_REVOKE_EXAMPLES = """\
examples:
  kubectl llama key revoke chat-70b abcdefghijklmnop               one key, or several
  kubectl llama key revoke chat-70b --tenant acme                  all keys of a tenant; asks before
  kubectl llama key revoke chat-70b --tenant acme --yes            the same without a question, for a script

A whole key (llm_...) is taken in place of its id: of a key that was found somewhere, you need to know nothing else.

"""
_EXPIRES = "when it ends: 90d, 12h, 4w from now, a date (to its end, in UTC), a time as 2027-01-31T12:00:00Z, or never"


def register(commands: Commands) -> None:
    """Add the command and its actions."""
    group = add_group(commands, "key", "API keys of a deployment: make, list, rotate and revoke them", _EXAMPLES)
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_create(actions)
    _add_list(actions)
    _add_rotate(actions)
    _add_revoke(actions)


def _add_create(actions: Commands) -> None:
    create = add_command(
        actions, "create", "make a key for a tenant, and show it once", _CREATE_EXAMPLES, module="key.create"
    )
    create.add_argument("name", help="the deployment")
    create.add_argument(
        "--tenant", required=True, metavar="TENANT", help="who pays for its requests, and whose limits count"
    )
    create.add_argument("--models", metavar="A,B", help="names on the endpoint that it may ask for (default: all)")
    create.add_argument("--expires", metavar="WHEN", default="never", help=f"{_EXPIRES} (default: never)")
    create.add_argument(
        "--note",
        metavar="TEXT",
        default="",
        help="words that help you to know it again; everybody who lists keys sees them",
    )
    _add_forms(create)


def _add_list(actions: Commands) -> None:
    listing = add_command(
        actions,
        "list",
        "the keys of a deployment, those that end first at the top",
        _LIST_EXAMPLES,
        module="key.listing",
    )
    listing.add_argument("name", help="the deployment")
    listing.add_argument("--tenant", metavar="TENANT", help="only the keys of this tenant")
    add_cluster(listing)
    add_output(listing)


def _add_rotate(actions: Commands) -> None:
    rotate = add_command(
        actions,
        "rotate",
        "make a key in place of an older one, which ends a while later",
        _ROTATE_EXAMPLES,
        module="key.rotate",
    )
    rotate.add_argument("name", help="the deployment")
    rotate.add_argument("id", metavar="ID", help="id of the older key")
    rotate.add_argument(
        "--overlap",
        metavar="TIME",
        default="24h",
        help="how long the older key is still served: 24h, 14d, 0 (default: 24h)",
    )
    rotate.add_argument(
        "--expires", metavar="WHEN", help=f"{_EXPIRES} (default: as long as the older one was made for)"
    )
    _add_forms(rotate)


def _add_revoke(actions: Commands) -> None:
    revoke = add_command(
        actions, "revoke", "remove keys, so that they are not served any more", _REVOKE_EXAMPLES, module="key.revoke"
    )
    revoke.add_argument("name", help="the deployment")
    revoke.add_argument("ids", nargs="*", metavar="ID", help="ids of `kubectl llama key list`")
    revoke.add_argument("--tenant", metavar="TENANT", help="all keys of this tenant")
    revoke.add_argument("--yes", action="store_true", help="do not ask before all keys of a tenant are revoked")
    add_cluster(revoke)
    add_output(revoke)


def _add_forms(parser: argparse.ArgumentParser) -> None:
    add_cluster(parser)
    add_output(parser, "table", "json", "key")
    parser.add_argument(
        "-q", "--quiet", dest="output", action="store_const", const="key", help="print only the key, as -o key"
    )
