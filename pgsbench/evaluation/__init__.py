"""A checkpoint and a suite in, scores with intervals out; knows neither trainer nor tracker."""
