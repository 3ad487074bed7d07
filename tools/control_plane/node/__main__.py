"""`python -m control_plane.node`: says whether a real node can run here, and if not, why. Called by `make e2e`."""

from control_plane.node.real_node import missing

if __name__ == "__main__":
    why = missing()
    print(why or "a real node can run here")
    raise SystemExit(1 if why else 0)
