"""The playground, one page that shows the flow: route, template, scripts and style; endpoints are in `oauth`."""
