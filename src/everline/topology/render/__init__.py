"""Every file that the programs of a cluster read, made from its topology."""

from everline.topology.render.cluster import render, render_host
from everline.topology.render.files import RenderedFile, RenderError
from everline.topology.render.launch import Copy, Launch, launch_of
from everline.topology.render.places import Places, Programs

__all__ = [
    "Copy", "Launch", "Places", "Programs", "RenderError", "RenderedFile", "launch_of", "render", "render_host",
]  # fmt: skip
