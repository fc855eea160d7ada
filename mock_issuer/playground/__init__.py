"""The playground, one page that shows the flow: route, template, scripts and style. Endpoints are in `oauth`."""
