"""What runs look like to people: progress, tables, plots and files."""

from gamlp_admm.report.accuracy import accuracy_markdown, accuracy_table
from gamlp_admm.report.files import check_writable, csv_text, replacing, write_history, write_text
from gamlp_admm.report.plots import check_plot, plot, plot_comparison
from gamlp_admm.report.progress import LiveProgress, Plan
from gamlp_admm.report.search import SearchProgress, search_table
from gamlp_admm.report.tables import comparison_table, datasets_table, percent, run_table, seeds_table, size

__all__ = [
    "LiveProgress",
    "Plan",
    "SearchProgress",
    "accuracy_markdown",
    "accuracy_table",
    "check_plot",
    "check_writable",
    "comparison_table",
    "csv_text",
    "datasets_table",
    "percent",
    "plot",
    "plot_comparison",
    "replacing",
    "run_table",
    "search_table",
    "seeds_table",
    "size",
    "write_history",
    "write_text",
]
