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
    from gamlp_admm.report.progress import DivisionLine, LiveProgress, WorkProgress
    from gamlp_admm.report.search import SearchProgress, search_table
    from gamlp_admm.report.speed import plot_speed, speed_markdown, speed_tables
    from gamlp_admm.report.tables import comparison_table, datasets_table, percent, run_table, seeds_table, size

__all__ = [
    "BenchmarkProgress",
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

__getattr__, __dir__ = exports(
    __name__,
    {
        **dict.fromkeys(("accuracy_markdown", "accuracy_table"), f"{__name__}.accuracy"),
        **dict.fromkeys(("augment_markdown", "augment_tables"), f"{__name__}.augment"),
        "BenchmarkProgress": f"{__name__}.benchmark",
        **dict.fromkeys(("many_labels_markdown", "many_labels_table"), f"{__name__}.many_labels"),
        **dict.fromkeys(("ogb_markdown", "ogb_table"), f"{__name__}.ogb"),
        "html_page": f"{__name__}.page",
        **dict.fromkeys(("check_plot", "plot", "plot_comparison"), f"{__name__}.plots"),
        **dict.fromkeys(("DivisionLine", "LiveProgress", "WorkProgress"), f"{__name__}.progress"),
        **dict.fromkeys(("SearchProgress", "search_table"), f"{__name__}.search"),
        **dict.fromkeys(("plot_speed", "speed_markdown", "speed_tables"), f"{__name__}.speed"),
        **dict.fromkeys(
            ("comparison_table", "datasets_table", "percent", "run_table", "seeds_table", "size"), f"{__name__}.tables"
        ),
    },
)
