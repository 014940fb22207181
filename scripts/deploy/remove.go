package main

import (
	"context"
	"slices"
)

// removal returns what is left to remove: what this command made, and never the bucket.
func (d *deployer) removal(ctx context.Context) (list []change, err error) {
	var roles []string
	for _, f := range d.target.functions {
		if !slices.Contains(roles, f.role) {
			roles = append(roles, f.role)
		}
		state, err := d.function(ctx, f.name)
		if err != nil {
			return nil, err
		}
		if state == nil || !isOurs(state) {
			continue
		}
		triggers, err := d.triggers(ctx, f.name)
		if err != nil {
			return nil, err
		}
		none := f
		none.triggers = nil
		list = append(list, d.triggerChanges(none, triggers)...)
		list = append(list, change{
			scope: f.name, text: f.name + ": delete", service: "scf", action: "DeleteFunction", parameters: d.named(f.name, nil),
		})
	}
	logs, err := d.logRemoval(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, logs...)
	for _, name := range roles {
		s, err := d.role(ctx, name)
		if err != nil {
			return nil, err
		}
		add := func(action, text string, p map[string]any) {
			list = append(list, change{text: "role " + name + ": " + text, service: "cam", action: action, parameters: p})
		}
		isOurs := false
		if s.policy != nil {
			isOurs, _ = d.isMine(s.policy.Description)
		}
		if isOurs && s.isOurs && s.attached {
			add("DetachRolePolicy", "detach its policy", map[string]any{"PolicyId": s.policy.PolicyID, "DetachRoleName": name})
		}
		if s.isOurs {
			add("DeleteRole", "delete", map[string]any{"RoleName": name})
		}
		if isOurs {
			add("DeletePolicy", "delete its policy", map[string]any{"PolicyId": []int64{s.policy.PolicyID}})
		}
	}
	return list, nil
}
