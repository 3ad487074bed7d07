"""`kubectl llama get`: the deployments of a cluster in one table that says what serves, where, and why not."""

from llama_operator.cli.get.rows import GetOptions, document, read, table
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import Connection, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK


async def command(connection: Connection, options: GetOptions) -> int:
    """Print the deployments that `options` names; with `watch`, again after every change."""
    if options.watch:
        from llama_operator.cli.get import watch as get_watch

        return await get_watch.command(connection, options)
    rows = await read(connection, options)
    if options.as_json:
        output.print_json(document(rows[0]) if options.name else {"items": [document(row) for row in rows]})
    elif rows:
        output.show_table(output.console(), table(rows, namespaces=options.all_namespaces, now=connection.now()))
    else:
        where = "any namespace" if options.all_namespaces else f"namespace {connection.namespace}"
        output.console().print(f"No LlamaDeployment in {where}.")
    return EXIT_OK


run = runner(command, GetOptions)
