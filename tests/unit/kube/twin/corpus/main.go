// Command corpus answers histories of writes, one JSON list a line, with what structured-merge-diff makes of them.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"sort"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/merge"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// oneVersion converts between API versions where there is only one.
type oneVersion struct{}

func (oneVersion) Convert(object *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return object, nil
}

func (oneVersion) IsMissingVersionError(error) bool { return false }

type write struct {
	Operation string          `json:"operation"`
	Manager   string          `json:"manager"`
	Force     bool            `json:"force"`
	Object    json.RawMessage `json:"object"`
}

type answer struct {
	Conflicts map[string][]string        `json:"conflicts"`
	Object    json.RawMessage            `json:"object"`
	Managers  map[string]json.RawMessage `json:"managers"`
}

type state struct {
	updater  *merge.Updater
	live     *typed.TypedValue
	managers fieldpath.ManagedFields
}

func (s *state) do(w write, parser typed.ParseableType) (answer, error) {
	object, err := parser.FromYAML(typed.YAMLObject(w.Object))
	if err != nil {
		return answer{}, err
	}
	name := w.Manager + "/" + w.Operation
	conflicts := map[string][]string{}
	var next *typed.TypedValue
	var managers fieldpath.ManagedFields
	if w.Operation == "Apply" {
		next, managers, err = s.updater.Apply(s.live, object, "v1", s.managers.Copy(), name, w.Force)
	} else {
		next, managers, err = s.updater.Update(s.live, object, "v1", s.managers.Copy(), name)
	}
	var found merge.Conflicts
	if errors.As(err, &found) {
		for _, conflict := range found {
			conflicts[conflict.Manager] = append(conflicts[conflict.Manager], conflict.Path.String())
		}
		for _, paths := range conflicts {
			sort.Strings(paths)
		}
	} else if err != nil {
		return answer{}, err
	} else {
		s.live, s.managers = next, managers
	}
	return s.tell(conflicts)
}

func (s *state) tell(conflicts map[string][]string) (answer, error) {
	object, err := value.ToJSON(s.live.AsValue())
	if err != nil {
		return answer{}, err
	}
	managers := map[string]json.RawMessage{}
	for name, set := range s.managers {
		if managers[name], err = set.Set().ToJSON(); err != nil {
			return answer{}, err
		}
	}
	return answer{conflicts, object, managers}, nil
}

func run(schema string) error {
	text, err := os.ReadFile(schema)
	if err != nil {
		return err
	}
	parser, err := typed.NewParser(typed.YAMLObject(text))
	if err != nil {
		return err
	}
	root := parser.Type("root")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var history []write
		if err := json.Unmarshal(lines.Bytes(), &history); err != nil {
			return err
		}
		live, err := root.FromYAML("{}")
		if err != nil {
			return err
		}
		builder := merge.UpdaterBuilder{Converter: oneVersion{}, ReturnInputOnNoop: true}
		s := state{builder.BuildUpdater(), live, fieldpath.ManagedFields{}}
		answers := []answer{}
		for _, w := range history {
			given, err := s.do(w, root)
			if err != nil {
				return err
			}
			answers = append(answers, given)
		}
		line, err := json.Marshal(answers)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return lines.Err()
}

func main() {
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
