"""Reports: what run directories say, as tables, figures and pages. Reads no tracker."""
