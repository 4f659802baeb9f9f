"""Small files of every kind that the sources read."""

from __future__ import annotations


def write_tu(tmp, **changes):
    """A TU data set of three graphs, nodes out of order; `changes` replace files, or drop them (None)."""
    files = {
        "A": "1, 2\n2, 1\n3, 4\n4, 3\n1, 6\n6, 1\n",
        "graph_indicator": "1\n1\n2\n2\n3\n1\n",
        "graph_labels": "1\n-1\n1\n",
        "graph_attributes": "0.5\n1.5\n2.5\n",
        "node_labels": "5\n6\n5\n5\n7\n8\n",
        "node_attributes": "1.0, 2.0\n3.0, 4.0\n5.0, 6.0\n7.0, 8.0\n9.0, 1.0\n2.0, 2.0\n",
        "edge_labels": "0\n0\n1\n1\n2\n2\n",
    } | changes
    folder = tmp / "TINY"
    folder.mkdir(exist_ok=True)
    for part, text in files.items():
        if text is not None:
            (folder / f"TINY_{part}.txt").write_text(text)
    return folder


def write_edge_tables(tmp):
    """Two graphs and one without edges; the options of their source."""
    (tmp / "edges.csv").write_text("graph,source,target,kind,weight\na,1,2,x,0.5\na,2,3,y,1.5\nb,p,q,x,2.5\n")
    (tmp / "nodes.csv").write_text(
        "graph,node,color,size\na,1,red,1.0\na,2,blue,2.0\na,3,red,3.0\nb,p,red,4.0\nb,q,red,5.0\nc,z,blue,6.0\n"
    )
    (tmp / "graphs.csv").write_text("graph,kind,part\na,u,train\nb,v,test\nc,,train\n")
    parts = {name: str(tmp / f"{name}.csv") for name in ("edges", "nodes", "graphs")}
    return parts | {"labels": ["kind"], "split": "part"}


def write_node_tables(tmp):
    """A path of six nodes; the options of its source."""
    (tmp / "links.csv").write_text("source,target\n" + "\n".join(f"n{i},n{i + 1}" for i in range(5)) + "\n")
    (tmp / "people.csv").write_text("node,age,side\n" + "\n".join(f"n{i},{i}.5,{i % 2}" for i in range(6)) + "\n")
    return {"edges": str(tmp / "links.csv"), "nodes": str(tmp / "people.csv"), "labels": ["side"]}
