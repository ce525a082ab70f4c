package opensearch

// What the panels of a [Dashboard] are made of. The map is a classic "coordinate
// map", because that is the one map of OpenSearch Dashboards that draws geohash
// cells as rectangles; the maps plug-in has no layer for them. The lines are
// Vega-Lite, because no classic chart knows weighted averages, and because its
// request is written here in full: what is tested is what Dashboards sends.

// metric is an aggregation of a classic visualisation that gives a number.
func metric(id, kind, field, label string) object {
	params := object{"customLabel": label}
	if field != "" {
		params["field"] = field
	}
	return object{"id": id, "enabled": true, "type": kind, "schema": "metric", "params": params}
}

// terms makes a row of each of a field's values, the most frequent ones first.
func terms(id, field, label string) object {
	return object{"id": id, "enabled": true, "type": "terms", "schema": "bucket", "params": object{
		"field": field, "orderBy": "1", "order": "desc", "size": 100, "otherBucket": false, "otherBucketLabel": "Other",
		"missingBucket": false, "missingBucketLabel": "Missing", "customLabel": label,
	}}
}

var tableParams = object{
	"perPage": 10, "showPartialRows": false, "showMetricsAtAllLevels": false, "showTotal": false, "totalFunc": "sum", "percentageCol": "",
}

// params show New York, whose taxis these are.
func (Map) params() object {
	return object{
		"mapType": "Shaded Geohash Grid", "colorSchema": "Yellow to Red", "mapCenter": []float64{40.74, -73.93}, "mapZoom": 11,
		"isDesaturated": true, "addTooltip": true, "heatClusterSize": 1.5, "legendPosition": "bottomright",
		"wms": object{"enabled": false, "url": "", "options": object{
			"version": "", "layers": "", "format": "image/png", "transparent": true, "attribution": "", "styles": "",
		}},
	}
}

// aggs sum a field by the cells that the query has, whatever the zoom: a coarser
// precision would show other areas than the query counts in.
func (m Map) aggs() []object {
	return []object{
		metric("1", "sum", m.Sum, m.Sum),
		{"id": "2", "enabled": true, "type": "geohash_grid", "schema": "segment", "params": object{
			"field": "location", "autoPrecision": false, "precision": orDefault(m.Precision, 6), "useGeocentroid": false, "isFilteredByCollar": false,
		}},
	}
}

// spec draws the buckets of one search. OpenSearch chooses the interval; the
// schema is the oldest that any OpenSearch Dashboards 2 and 3 read.
func (l Lines) spec(index string) object {
	datum := func(as, expr string) object { return object{"calculate": expr, "as": as} }
	return object{
		"$schema": "https://vega.github.io/schema/vega-lite/v4.json",
		"data": object{
			"url": object{
				"%context%": true, "%timefield%": timeField(l.Query), "index": index,
				"body": object{"size": 0, "aggs": object{"time": object{
					"auto_date_histogram": object{"field": "window_start", "buckets": 300, "minimum_interval": "minute"},
					"aggs": object{"airport": object{
						"terms": object{"field": "airport_code", "size": 20},
						"aggs": object{
							"average": object{"weighted_avg": object{"value": object{"field": l.Average}, "weight": object{"field": l.Weight}}},
							"trips":   object{"sum": object{"field": l.Weight}},
						},
					}},
				}}},
			},
			"format": object{"property": "aggregations.time.buckets"},
		},
		"transform": []object{
			{"flatten": []string{"airport.buckets"}, "as": []string{"line"}},
			datum("airport", "datum.line.key"), datum("average", "datum.line.average.value"), datum("trips", "datum.line.trips.value"),
		},
		"mark": object{"type": "line", "point": true, "tooltip": true},
		"encoding": object{
			"x":     object{"field": "key", "type": "temporal", "axis": object{"title": nil}},
			"y":     object{"field": "average", "type": "quantitative", "axis": object{"title": l.Average}},
			"color": object{"field": "airport", "type": "nominal", "legend": object{"title": "airport"}},
			"tooltip": []object{
				{"field": "airport", "type": "nominal"}, {"field": "key", "type": "temporal", "title": "time", "format": "%Y-%m-%d %H:%M"},
				{"field": "average", "type": "quantitative", "format": ".1f", "title": l.Average},
				{"field": "trips", "type": "quantitative", "title": l.Weight},
			},
		},
	}
}
