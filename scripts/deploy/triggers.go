package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// A triggerState is one of the Triggers of ListTriggers.
type triggerState struct {
	Type, TriggerName, TriggerDesc, CustomArgument, Qualifier string
	Enable                                                    int64
}

func (d *deployer) triggers(ctx context.Context, name string) (all []triggerState, err error) {
	for {
		var page struct{ Triggers []triggerState }
		err := d.read(ctx, "scf", "ListTriggers", d.named(name, map[string]any{"Offset": len(all), "Limit": 100}), &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Triggers...)
		if len(page.Triggers) < 100 {
			return all, nil
		}
	}
}

func (d *deployer) reserved(ctx context.Context, name string) (int64, error) {
	var r struct{ ReservedMem int64 }
	err := d.read(ctx, "scf", "GetReservedConcurrencyConfig", d.named(name, nil), &r)
	return r.ReservedMem, err
}

// triggerChanges deletes before it creates, since filters of one bucket may not overlap. UpdateTrigger takes timers and
// function URLs, which so keep their addresses; UpdateTriggerStatus takes COS triggers. A function has one URL, whose
// name may be one that the platform chose. It leaves triggers of other types alone.
func (d *deployer) triggerChanges(f function, state []triggerState) (list []change) {
	add := func(action, text string, tr trigger, qualifier string, more map[string]any) {
		p := d.named(f.name, map[string]any{"Type": tr.kind, "TriggerName": tr.name, "Qualifier": qualifier})
		maps.Copy(p, more)
		list = append(list, change{
			scope: f.name, text: fmt.Sprintf("%s: %s trigger %s %s %s", f.name, text, tr.kind, tr.name, tr.description),
			service: "scf", action: action, parameters: p,
		})
	}
	wanted := slices.Clone(f.triggers)
	for _, s := range state {
		if s.Type != "cos" && s.Type != "timer" && s.Type != "http" {
			continue
		}
		i := slices.IndexFunc(wanted, func(w trigger) bool {
			isNamed := w.name == s.TriggerName && (s.Type != "cos" || holds(s.TriggerDesc, w.description))
			return w.kind == s.Type && (isNamed || s.Type == "http")
		})
		if i < 0 {
			tr := trigger{s.Type, s.TriggerName, s.TriggerDesc, ""}
			add("DeleteTrigger", "delete", tr, s.Qualifier, map[string]any{"TriggerDesc": s.TriggerDesc})
			continue
		}
		w := wanted[i]
		wanted = slices.Delete(wanted, i, i+1)
		w.name = s.TriggerName
		switch {
		case w.isSame(s):
		case w.kind == "cos":
			add("UpdateTriggerStatus", "enable", w, s.Qualifier, map[string]any{"TriggerDesc": s.TriggerDesc, "Enable": "OPEN"})
		default:
			add("UpdateTrigger", "update", w, s.Qualifier, w.settings())
		}
	}
	for _, w := range wanted {
		add("CreateTrigger", "create", w, "$DEFAULT", w.settings())
	}
	return list
}

func (w trigger) settings() map[string]any {
	p := map[string]any{"TriggerDesc": w.description, "Enable": "OPEN"}
	if w.argument != "" {
		p["CustomArgument"] = w.argument
	}
	return p
}

// isSame reports whether the trigger is as wanted. The service returns a timer's description as JSON.
func (w trigger) isSame(s triggerState) bool {
	if s.Enable != 1 || s.CustomArgument != w.argument {
		return false
	}
	if w.kind == "timer" {
		return s.TriggerDesc == w.description || holds(s.TriggerDesc, compact(map[string]string{"cron": w.description}))
	}
	return holds(s.TriggerDesc, w.description)
}

// holds reports whether the JSON object got has all values of want. The service adds values of its own.
func holds(got, want string) bool {
	var g, w any
	return json.Unmarshal([]byte(got), &g) == nil && json.Unmarshal([]byte(want), &w) == nil && includes(g, w)
}

func includes(got, want any) bool {
	w, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(got, want)
	}
	g, ok := got.(map[string]any)
	for key, value := range w {
		ok = ok && includes(g[key], value)
	}
	return ok
}
