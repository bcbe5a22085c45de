"""What runs look like to people: progress, tables and plots."""

from typing import TYPE_CHECKING

from gamlp_admm.system.lazy import exports

if TYPE_CHECKING:
    from gamlp_admm.report.accuracy import accuracy_markdown, accuracy_table
    from gamlp_admm.report.augment import augment_markdown, augment_tables
    from gamlp_admm.report.benchmark import BenchmarkProgress
    from gamlp_admm.report.many_labels import many_labels_markdown, many_labels_table
    from gamlp_admm.report.ogb import ogb_markdown, ogb_table
    from gamlp_admm.report.page import html_page
    from gamlp_admm.report.plots import check_plot, plot, plot_comparison
    from gamlp_admm.report.progress import CodecLine, DivisionLine, LiveProgress, WorkProgress
    from gamlp_admm.report.search import SearchProgress, search_table
    from gamlp_admm.report.speed import plot_speed, speed_markdown, speed_tables
    from gamlp_admm.report.tables import comparison_table, datasets_table, percent, run_table, seeds_table, size

__all__ = [
    "BenchmarkProgress",
    "CodecLine",
    "DivisionLine",
    "LiveProgress",
    "SearchProgress",
    "WorkProgress",
    "accuracy_markdown",
    "accuracy_table",
    "augment_markdown",
    "augment_tables",
    "check_plot",
    "comparison_table",
    "datasets_table",
    "html_page",
    "many_labels_markdown",
    "many_labels_table",
    "ogb_markdown",
    "ogb_table",
    "percent",
    "plot",
    "plot_comparison",
    "plot_speed",
    "run_table",
    "search_table",
    "seeds_table",
    "size",
    "speed_markdown",
    "speed_tables",
]

HOMES = {
    "accuracy": ("accuracy_markdown", "accuracy_table"),
    "augment": ("augment_markdown", "augment_tables"),
    "benchmark": ("BenchmarkProgress",),
    "many_labels": ("many_labels_markdown", "many_labels_table"),
    "ogb": ("ogb_markdown", "ogb_table"),
    "page": ("html_page",),
    "plots": ("check_plot", "plot", "plot_comparison"),
    "progress": ("CodecLine", "DivisionLine", "LiveProgress", "WorkProgress"),
    "search": ("SearchProgress", "search_table"),
    "speed": ("plot_speed", "speed_markdown", "speed_tables"),
    "tables": ("comparison_table", "datasets_table", "percent", "run_table", "seeds_table", "size"),
}
"""The names by the module in which they stand."""

__getattr__, __dir__ = exports(
    __name__, {name: f"{__name__}.{module}" for module, names in HOMES.items() for name in names}
)
