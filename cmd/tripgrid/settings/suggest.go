package settings

import "strings"

// suggestSection says what a key at the top may have meant.
func (r *reader) suggestSection(key string) string {
	for _, s := range r.model.settings { // a flag's name, or a dotted one
		if strings.EqualFold(key, s.Flag.Name) || strings.EqualFold(key, s.name()) {
			return ": write " + s.key + " under " + s.section
		}
	}
	var names []string
	for _, g := range sections {
		names = append(names, g.Key)
	}
	if near := nearest(key, names); near != "" {
		return ": did you mean " + near + "?"
	}
	return ": there are " + strings.Join(names, ", ")
}

// suggestKey says what an unknown key of a section may have meant.
func (r *reader) suggestKey(section, key string) string {
	var own []string
	elsewhere := ""
	for _, s := range r.model.settings {
		switch {
		case s.section == section && (s.Flag.Name == key || strings.ReplaceAll(key, "_", "-") == s.key):
			return ": did you mean " + s.key + "?"
		case s.section == section:
			own = append(own, s.key)
		case s.key == key && elsewhere == "":
			elsewhere = s.section
		}
	}
	if near := nearest(key, own); near != "" {
		return ": did you mean " + near + "?"
	}
	if elsewhere != "" {
		return ": did you mean " + elsewhere + "." + key + "?"
	}
	return ": it has " + strings.Join(own, ", ")
}

// nearest is the name that takes the fewest changes to make of word, if those
// are few.
func nearest(word string, names []string) string {
	best, changes := "", max(2, len(word)/3+1)
	for _, n := range names {
		if d := distance(strings.ToLower(word), n); d < changes {
			best, changes = n, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
