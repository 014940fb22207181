package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A policyState is a policy of CAM, as ListPolicies and GetPolicy return it.
type policyState struct {
	PolicyID                                int64 `json:"PolicyId"`
	PolicyName, Description, PolicyDocument string
}

// A roleState is what exists of a role and of the policy with the role's name.
type roleState struct {
	exists, isOurs, attached bool
	trust                    string       // who may assume it
	madeBy                   string       // another deployment that made it, empty for none
	policy                   *policyState // nil if there is none
}

// isMine reports whether the description of a role or a policy is one of this deployment, and returns the deployment
// if it is that of another one.
func (d *deployer) isMine(description string) (isMine bool, other string) {
	if description == d.target.mark() {
		return true, ""
	}
	other, _ = strings.CutPrefix(description, mark+" for ")
	if other == description {
		other = ""
	}
	return false, other
}

func (d *deployer) role(ctx context.Context, name string) (s roleState, err error) {
	var r struct {
		RoleInfo struct{ Description, PolicyDocument string }
	}
	err = d.read(ctx, "cam", "GetRole", map[string]any{"RoleName": name}, &r)
	if err != nil && !isMissing(err) {
		return s, err
	}
	s.exists = err == nil
	if s.exists {
		s.isOurs, s.madeBy = d.isMine(r.RoleInfo.Description)
		s.trust = r.RoleInfo.PolicyDocument
	}
	for page := 1; s.policy == nil; page++ {
		var p struct{ List []policyState }
		if err := d.read(ctx, "cam", "ListPolicies",
			map[string]any{"Page": page, "Rp": 200, "Scope": "Local", "Keyword": name}, &p); err != nil {
			return s, err
		}
		if i := slices.IndexFunc(p.List, func(p policyState) bool { return p.PolicyName == name }); i >= 0 {
			s.policy = &p.List[i]
		} else if len(p.List) < 200 {
			break
		}
	}
	if s.policy != nil {
		if err := d.read(ctx, "cam", "GetPolicy", map[string]any{"PolicyId": s.policy.PolicyID}, s.policy); err != nil {
			return s, err
		}
	}
	if s.exists && s.policy != nil {
		var p struct{ List []policyState }
		if err := d.read(ctx, "cam", "ListAttachedRolePolicies",
			map[string]any{"Page": 1, "Rp": 200, "RoleName": name}, &p); err != nil {
			return s, err
		}
		s.attached = slices.ContainsFunc(p.List, func(p policyState) bool { return p.PolicyName == name })
	}
	return s, nil
}

// roleChanges leaves a role alone that this command did not make.
func (d *deployer) roleChanges(ctx context.Context, name, policy string) (list []change, err error) {
	t := d.target
	s, err := d.role(ctx, name)
	if err != nil {
		return nil, err
	}
	if s.madeBy != "" {
		return nil, fmt.Errorf("the role %s is that of the deployment %s: give Role and HttpRole in .env other names",
			name, s.madeBy)
	}
	if s.exists && !s.isOurs {
		if !d.noted[name] {
			d.noted[name] = true
			fmt.Fprintf(d.out, "role %s: not made by this command, so its policies stay as they are\n", name)
		}
		return nil, nil
	}
	add := func(action, text string, p map[string]any) {
		list = append(list, change{text: "role " + name + ": " + text, service: "cam", action: action, parameters: p})
	}
	if !s.exists {
		add("CreateRole", "create", map[string]any{"RoleName": name, "PolicyDocument": trustPolicy, "Description": t.mark()})
	} else if !isTrusted(s.trust) {
		add("UpdateAssumeRolePolicy", "let SCF assume it", map[string]any{"RoleName": name, "PolicyDocument": trustPolicy})
	}
	isMine := false
	if s.policy != nil {
		isMine, _ = d.isMine(s.policy.Description)
	}
	switch {
	case s.policy == nil:
		add("CreatePolicy", "create its policy", map[string]any{
			"PolicyName": name, "PolicyDocument": policy, "Description": t.mark(),
		})
	case !isMine:
		return nil, errors.New("the policy " + name + " exists, but not by this deployment: rename it, or choose other " +
			"names for Role and HttpRole in .env")
	case !isSamePolicy(s.policy.PolicyDocument, policy):
		add("UpdatePolicy", "update its policy", map[string]any{"PolicyId": s.policy.PolicyID, "PolicyDocument": policy})
	}
	if !s.attached { // by name, since the ID of a new policy is not known yet
		add("AttachRolePolicy", "attach its policy", map[string]any{"AttachRoleName": name, "PolicyName": name})
	}
	return list, nil
}
