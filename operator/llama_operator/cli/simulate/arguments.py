"""Arguments of `kubectl llama simulate`. Called by `cli.verbs`; imports argparse only."""

from llama_operator.cli.shared.arguments import Commands, add_command, add_file, add_name, add_output

_EXAMPLES = """\
A trace is a shape that is drawn (steady, step, wave, spikes, on-off, slow-ramp, from-zero) or a file with a line for each request:
csv with a header (Azure, BurstGPT, Vidur, your own), jsonl (Mooncake, or the usage log of your own deployment); or ServeGen's clients; or a
folder of one kind. Settings stand behind a colon: low, high (requests a
second), period, at, length (seconds), prompt, output (tokens) for shapes; times (copies on top of each other), share (of the
requests), start, length, unit (seconds of one unit of time) for files.
Autoscalers have settings behind a colon too: product has preference, reserve, minReplicas and maxReplicas, as spec.scaling; fixed has replicas.
The same seed gives the same run. The clairvoyant knows the trace, and nobody can be better by much. So hours are measured by its hours. docs/simulate.md says what is simulated, and how far it holds.

examples:
  kubectl llama simulate -f chat-70b.yaml --trace wave            replicas, queue and GPU-hours over an hour of waves
  kubectl llama simulate -f chat-70b.yaml --trace wave:low=5,high=30,period=900    waves of your own
  kubectl llama simulate -f chat-70b.yaml --trace requests.csv:times=4             four times the load of a file
  kubectl llama simulate -f chat-70b.yaml --trace logs/:start=0,length=86400       the first day of the usage logs in a folder
  kubectl llama simulate -f chat-70b.yaml --trace step --cold-start 60             what faster starts would be worth
  kubectl llama simulate -f chat-70b.yaml --trace step --scaler product --scaler keda   two autoscalers beside each other
  kubectl llama simulate -f chat-70b.yaml --trace step --all --seeds 3             all autoscalers, with the spread of chance
  kubectl llama simulate -f chat-70b.yaml --trace wave --settings                  what each preference and one replica more cost and bring
  kubectl llama simulate -f chat-70b.yaml --trace logs/ --scaler product:minReplicas=2,reserve=1 --scaler fixed:replicas=4    settings of your own
  kubectl llama simulate -f chat-70b.yaml --trace wave --begins 2026-11-30T07:30   with the schedule of that Monday morning
  kubectl llama simulate -f chat-70b.yaml --trace wave --picture wave.svg          the picture as a file (or wave.png)
  kubectl llama simulate -f chat-70b.yaml --trace wave -o json                     the same for programs

"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "simulate", "how a manifest would scale under a trace of requests, and what that costs", _EXAMPLES
    )
    add_file(parser)
    add_name(parser)
    parser.add_argument("--trace", required=True, metavar="TRACE", help="shape or file, with settings behind a colon")
    parser.add_argument(
        "--scaler",
        action="append",
        metavar="NAME",
        help="autoscaler to play, with settings behind a colon; repeatable (default: product and yardsticks)",
    )
    parser.add_argument(
        "--settings",
        action="store_true",
        help="play the product with other settings too: each preference, one replica more in reserve, one more at least",
    )
    parser.add_argument("--all", action="store_true", help="play every autoscaler that is known")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is left to chance (default: 1)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="so many runs with seeds from --seed on")
    parser.add_argument("--cold-start", type=float, metavar="SECONDS", help="of a start (default: the plan's estimate)")
    parser.add_argument(
        "--failing-starts", type=int, default=0, metavar="PERCENT", help="starts that fail and begin anew"
    )
    parser.add_argument(
        "--first-token",
        type=float,
        metavar="SECONDS",
        help="objective for the first token (default: spec.objectives, else 2)",
    )
    parser.add_argument("--max-replicas", type=int, metavar="N", help="in place of spec.scaling.maxReplicas")
    parser.add_argument(
        "--begins",
        metavar="TIME",
        help="when the trace begins, as 2026-11-30T07:30 in the time zone of spec.scaling.schedule, whose bounds are then played",
    )
    parser.add_argument(
        "--picture",
        "--svg",
        metavar="FILE",
        help="write the picture of the first autoscaler into FILE, as SVG, or as PNG if it ends with .png",
    )
    parser.add_argument(
        "--pareto", metavar="FILE", help="write attainment against GPU-hours of all into FILE, as --picture"
    )
    add_output(parser)
